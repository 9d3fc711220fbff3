//! Highly variable genes of published data against published answers: Seurat's, Cell Ranger's and scanpy's.
//!
//! Data and answers lie in `../shared/data`, whose README says where they come from. Without it these tests are skipped, loudly.

#![cfg(feature = "h5ad")]

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::process::Command;

use allotment::array::{Over, Statistic};
use allotment::cells::{
    AnnData, Column, Frame, HighlyVariable, HvgFlavor, HvgOptions, highly_variable_genes, log1p, normalize_total,
};
use allotment::{Cluster, io};

/// Returns the paths of files that are needed, or says what is missing.
fn files<const N: usize>(names: [&str; N]) -> Option<[PathBuf; N]> {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let paths = names.map(|name| data.join(name));
    let missing = paths.iter().find(|path| !path.exists());
    if let Some(missing) = missing {
        eprintln!("skipped: {} is not there", missing.display());
    }
    missing.is_none().then_some(paths)
}

fn cluster() -> Cluster {
    Cluster::builder().allowance("256MiB".parse().expect("a size")).workers(2).build().expect("sound settings")
}

/// Reads a table with quoted names in its first column.
fn table(path: &PathBuf) -> BTreeMap<String, Vec<String>> {
    let text = match path.extension().is_some_and(|extension| extension == "gz") {
        true => {
            let output = Command::new("gzip").arg("-dc").arg(path).output().expect("gzip can be run");
            String::from_utf8(output.stdout).expect("a table is text")
        }
        false => std::fs::read_to_string(path).expect("it is there"),
    };
    let fields = |line: &str| line.split(',').map(|field| field.trim_matches('"').to_string()).collect::<Vec<_>>();
    let mut rows = text.lines().skip(1).map(fields);
    rows.by_ref().map(|mut row| (row.remove(0), row)).collect()
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NAN)
}

fn chosen(found: &HighlyVariable, names: &[String]) -> HashSet<String> {
    found.selected().into_iter().map(|gene| names[gene as usize].clone()).collect()
}

#[test]
fn seurats_standardised_variances_of_three_thousand_blood_cells_come_out() {
    let Some([counts, answers]) = files(["singlecell/pbmc3k_raw.h5ad", "reference/seurat_hvg_v3.csv.gz"]) else {
        return;
    };
    let data = io::h5ad::open(counts).expect("a sound file");
    let asked = HvgOptions { flavor: HvgFlavor::SeuratV3, n_top_genes: Some(2000), ..Default::default() };
    let cluster = cluster();
    let found = highly_variable_genes(&cluster, &data, &asked).expect("counts");
    assert_eq!(cluster.runs().iter().filter(|run| &*run.name == "highly_variable_genes").count(), 2, "two passes");
    assert_eq!(found.are_counts, Some(true));
    let (names, answers) = (data.var_names().expect("names"), table(&answers));
    assert_eq!(answers.len(), names.len());
    for (column, at, tolerance) in [("means", 0, 1e-13), ("variances", 1, 1e-12), ("variances_norm", 3, 1e-12)] {
        // Seurat prints fifteen digits; its own loess rounds a few thousand times, as ours does.
        for (name, value) in names.iter().zip(found.column(column).expect("it is there")) {
            let expected = number(&answers[name][at]);
            assert!((value - expected).abs() <= tolerance * expected.abs(), "{column} of {name}: {value} {expected}");
        }
    }
    let mut ranked: Vec<(f64, &String)> = names.iter().map(|name| (-number(&answers[name][3]), name)).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let expected: HashSet<String> = ranked[..2000].iter().map(|(_, name)| name.to_string()).collect();
    assert_eq!(chosen(&found, &names), expected);
}

#[test]
fn seurats_two_thousand_genes_of_five_batches_come_out() {
    let Some([counts, answers]) = files(["singlecell/pbmc3k_raw.h5ad", "reference/seurat_hvg_v3_batch.csv"]) else {
        return;
    };
    let mut data = io::h5ad::open(counts).expect("a sound file");
    // The published answer cut the cells, in their order, into runs of 500, 500, 500, 500 and 700.
    let batch = (0..data.n_obs()).map(|cell| Some((cell / 500).min(4).to_string())).collect();
    let columns = vec![("batch".to_string(), Column::Strings(batch))];
    data.obs = Frame::in_memory(data.obs_names().expect("names"), columns).expect("a batch for each");
    let key = Some("batch".to_string());
    let flavor = HvgFlavor::SeuratV3Paper;
    let asked = HvgOptions { flavor, n_top_genes: Some(2000), batch_key: key, ..Default::default() };
    let found = highly_variable_genes(&cluster(), &data, &asked).expect("counts");
    let names = data.var_names().expect("names");
    let expected: HashSet<String> = table(&answers).into_values().map(|row| row[0].clone()).collect();
    let chosen = chosen(&found, &names);
    let missing = expected.difference(&chosen).count();
    // Genes that tie at the end of the list come in an order that neither program promises.
    assert!(missing <= 20, "{missing} of 2000 genes differ");
}

#[test]
fn scanpys_1838_genes_come_out_in_order() {
    let Some([counts, answers]) = files(["singlecell/pbmc3k_raw.h5ad", "reference/pbmc3k_scanpy_hvg_1838.txt"]) else {
        return;
    };
    let cluster = cluster();
    let raw = io::h5ad::open(counts).expect("a sound file");
    let names = raw.var_names().expect("names");
    let mitochondrial: Vec<u64> =
        (0..).zip(&names).filter(|(_, name)| name.starts_with("MT-")).map(|(gene, _)| gene).collect();
    let each_row = |x: &allotment::array::Array, statistic| {
        x.reduce_many(&cluster, &[(statistic, Over::EachRow)], None).expect("small").remove(0)
    };
    let genes = each_row(&raw.x, Statistic::CountNonzero);
    let total = each_row(&raw.x, Statistic::Sum);
    let of_mitochondria = each_row(&raw.x.select_columns(mitochondrial).expect("there"), Statistic::Sum);
    let sound = |cell: &usize| genes[*cell] < 2500.0 && of_mitochondria[*cell] / total[*cell] < 0.05;
    let kept: Vec<u64> = (0..genes.len()).filter(sound).map(|cell| cell as u64).collect();
    assert_eq!(kept.len(), 2638);
    let x = log1p(&normalize_total(&raw.x.select_rows(kept).expect("there"), 1e4));
    let obs = Frame::in_memory((0..2638).map(|cell| cell.to_string()).collect(), vec![]).expect("names");
    let data = AnnData::new(x, obs, raw.var.clone()).expect("of one shape");
    let found = highly_variable_genes(&cluster, &data, &HvgOptions::default()).expect("logarithms");
    let expected: Vec<String> = std::fs::read_to_string(answers).expect("there").lines().map(str::to_string).collect();
    let found: Vec<&String> = found.selected().into_iter().map(|gene| &names[gene as usize]).collect();
    assert_eq!((found.len(), expected.len()), (1838, 1838));
    for (found, expected) in found.iter().zip(&expected) {
        // The list numbers repeated names by -1, the file by .1.
        assert!(*found == expected || found.replace(".1", "-1") == *expected, "{found} {expected}");
    }
}

#[test]
fn seurats_and_cell_rangers_dispersions_of_seven_hundred_cells_come_out() {
    let names = ["singlecell/pbmc68k_reduced_csr.h5ad", "reference/seurat_hvg.csv", "reference/cell_ranger_hvg.csv"];
    let Some([logs, seurat, cell_ranger]) = files(names) else { return };
    let mut data = io::h5ad::open(logs).expect("a sound file");
    // The published answers took what is stored, logarithms already, as counts.
    data.x = log1p(&normalize_total(&data.x, 1e4));
    let names = data.var_names().expect("names");
    let top = Some(100);
    let of_cell_ranger = HvgOptions { flavor: HvgFlavor::CellRanger, n_top_genes: top, ..Default::default() };
    for (asked, answers) in [(HvgOptions::default(), table(&seurat)), (of_cell_ranger, table(&cell_ranger))] {
        let found = highly_variable_genes(&cluster(), &data, &asked).expect("logarithms");
        let normalised = found.column("dispersions_norm").expect("it is there");
        for (gene, name) in names.iter().enumerate() {
            let row = &answers[name];
            let expected = number(&row[2]);
            // The file has single precision.
            assert!(
                (normalised[gene] - expected).abs() <= 2e-5 * (1.0 + expected.abs()),
                "{name}: {} {expected}",
                normalised[gene]
            );
            assert_eq!(found.highly_variable[gene], row[3].eq_ignore_ascii_case("true"), "{name}");
        }
    }
}
