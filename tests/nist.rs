//! Reductions against what NIST certifies to 15 digits: the nine univariate sets and the one-way analyses of variance of
//! the Statistical Reference Datasets (<https://www.itl.nist.gov/div898/strd>).
//!
//! The sets' files are read where they are, and a set whose file is missing says so and is left out. Michelso, NumAcc3 and
//! NumAcc4 are made here: the first from Michelson's hundred measurements of 1879, the others by their definition.

use allotment::array::{Array, Block, BlockKind, BlockMap, DType, DenseBlock, Over, Statistic};
use allotment::{ByteSize, Cluster};

fn cluster() -> Cluster {
    Cluster::builder().allowance(ByteSize(64 << 20)).workers(2).build().expect("sound settings")
}

fn read(folder: &str, name: &str) -> Option<String> {
    let path = format!("{}/../shared/data/reference/{folder}/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).ok();
    if text.is_none() {
        eprintln!("skipped: {path} is not there");
    }
    text
}

/// Values, and what is certified of them.
struct Univariate {
    name: &'static str,
    values: Vec<f64>,
    mean: f64,
    deviation: f64,
    /// Lag 1.
    autocorrelation: f64,
}

/// Michelson's hundred measurements of the speed of light in air (1879), in km/s less 299,000: NIST's set "Michelso".
const MICHELSON: [u32; 100] = [
    850, 740, 900, 1070, 930, 850, 950, 980, 980, 880, 1000, 980, 930, 650, 760, 810, 1000, 1000, 960, 960, //
    960, 940, 960, 940, 880, 800, 850, 880, 900, 840, 830, 790, 810, 880, 880, 830, 800, 790, 760, 800, //
    880, 880, 880, 860, 720, 720, 620, 860, 970, 950, 880, 910, 850, 870, 840, 840, 850, 840, 840, 840, //
    890, 810, 810, 820, 800, 770, 760, 740, 750, 760, 910, 920, 890, 860, 880, 720, 840, 850, 850, 780, //
    890, 840, 780, 810, 760, 810, 790, 810, 820, 850, 870, 870, 810, 740, 810, 940, 950, 800, 810, 870,
];

fn made() -> Vec<Univariate> {
    let michelso = Univariate {
        name: "Michelso",
        values: MICHELSON.iter().map(|speed| f64::from(299_000 + speed) / 1000.0).collect(),
        mean: 299.852400000000,
        deviation: 0.0790105478190518,
        autocorrelation: 0.535199668621283,
    };
    let constructed = |name, whole: u32| {
        // Tenths as integers first: what is divided is the nearest number to the decimal one.
        let tenths = |tenth: u32| f64::from(10 * whole + tenth) / 10.0;
        let mut values = vec![tenths(2)];
        (0..500).for_each(|_| values.extend([tenths(1), tenths(3)]));
        Univariate { name, values, mean: tenths(2), deviation: 0.1, autocorrelation: -0.999 }
    };
    vec![michelso, constructed("NumAcc3", 1_000_000), constructed("NumAcc4", 10_000_000)]
}

fn univariate(name: &'static str) -> Option<Univariate> {
    let text = read("nist_univariate", &format!("{name}.txt"))?;
    // Two layouts: `mean = 1.5`, and `Sample Mean   ybar:  1.5`. The value is the last word of either.
    let certified = |keys: [&str; 2]| -> f64 {
        let line = text.lines().find(|line| keys.iter().any(|key| line.starts_with(key)));
        line.and_then(|line| line.split_whitespace().last()?.parse().ok()).expect("a certified number")
    };
    let values: Vec<f64> = text.lines().filter_map(|line| line.trim().parse().ok()).collect();
    assert_eq!(values.len() as f64, certified(["n  ", "Number of Observations"]), "{name}");
    Some(Univariate {
        name,
        values,
        mean: certified(["mean", "Sample Mean"]),
        deviation: certified(["standardDeviation", "Sample Standard Deviation"]),
        autocorrelation: certified(["autocorrelationCoefficient", "Sample Autocorrelation"]),
    })
}

/// The share of the neighbours' product in the squares, all about the mean.
fn autocorrelation(cluster: &Cluster, set: &Univariate, mean: f64, block_rows: u64) -> f64 {
    let pairs: Vec<f64> = set.values.windows(2).flatten().copied().collect();
    let n = set.values.len();
    let product = BlockMap::new("product", 1, DType::F64, BlockKind::Dense, move |block: Block, _| {
        let pairs = block.to_vec::<f64>();
        let products: Vec<f64> = pairs.chunks_exact(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).collect();
        Ok(DenseBlock::new(block.rows(), 1, products)?.into())
    });
    let pairs = Array::from_slice(n - 1, 2, &pairs).expect("pairs").with_block_rows(block_rows);
    let products = pairs.map_blocks(product).expect("one column").sum(cluster, Over::Whole).expect("small")[0];
    let all = Array::from_slice(n, 1, &set.values).expect("one column");
    products / (all.var(cluster, Over::Whole, 0).expect("small")[0] * n as f64)
}

#[test]
fn means_deviations_and_autocorrelations_are_those_that_nist_certifies() {
    let files = ["Lew", "Lottery", "Mavro", "PiDigits", "NumAcc1", "NumAcc2"];
    let cluster = cluster();
    for set in files.into_iter().filter_map(univariate).chain(made()) {
        let name = set.name;
        for block_rows in [1, 7, 10_000] {
            let column = Array::from_slice(set.values.len(), 1, &set.values).expect("one column");
            let asked = [(Statistic::Mean, Over::EachColumn), (Statistic::Std { ddof: 1 }, Over::Whole)];
            let found = column.with_block_rows(block_rows).reduce_many(&cluster, &asked, None).expect("small");
            let (mean, deviation) = (found[0][0], found[1][0]);
            // The file gives fifteen digits, of which the last is rounded; and a value as such is rounded to so much of
            // its size, which a deviation far below the mean shows.
            assert!((mean - set.mean).abs() <= 1e-14 * set.mean.abs(), "{name}: mean {mean} {}", set.mean);
            let lost = f64::EPSILON * set.mean.abs() / set.deviation;
            let error = (deviation - set.deviation).abs() / set.deviation;
            assert!(error <= 1e-14 + lost, "{name} by {block_rows}: deviation {deviation} {}", set.deviation);
            let found = autocorrelation(&cluster, &set, mean, block_rows);
            // Both factors and the squares lose as much; the products are rounded to a share of the squares' sum.
            let error = (found - set.autocorrelation).abs();
            assert!(
                error <= 1e-14 + 3.0 * lost,
                "{name} by {block_rows}: autocorrelation {found} {}",
                set.autocorrelation
            );
        }
    }
}

/// A one-way analysis of variance: equally many values for each treatment, one column a treatment.
struct Anova {
    name: &'static str,
    replicates: usize,
    treatments: usize,
    /// Row by row.
    values: Vec<f64>,
    /// Degrees of freedom, sum of squares and mean square.
    between: [f64; 3],
    within: [f64; 3],
    f: f64,
    r_squared: f64,
}

fn anova(name: &'static str) -> Option<Anova> {
    let text = read("nist_anova", &format!("{name}.dat"))?;
    let numbers = |key: &str| -> Vec<f64> {
        let line = text.lines().find(|line| line.trim().starts_with(key)).expect("a certified line");
        line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    let three = |found: &[f64]| [found[0], found[1], found[2]];
    let (between, within) = (numbers("Between"), numbers("Within"));
    let data = text.lines().skip_while(|line| !line.starts_with("Data:  "));
    let pairs: Vec<(usize, f64)> = data
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            words.next()?.parse().ok().zip(words.next()?.parse().ok())
        })
        .collect();
    let treatments = between[0] as usize + 1;
    let replicates = pairs.len() / treatments;
    assert_eq!(pairs.len() - treatments, within[0] as usize, "{name}: all values were read");
    let mut groups = vec![Vec::with_capacity(replicates); treatments];
    pairs.iter().for_each(|(treatment, value)| groups[treatment - 1].push(*value));
    assert!(groups.iter().all(|group| group.len() == replicates), "{name} is balanced");
    let values = (0..replicates).flat_map(|i| groups.iter().map(move |group| group[i])).collect();
    let (between_three, r_squared) = (three(&between), numbers("Certified R-Squared")[0]);
    Some(Anova {
        name,
        replicates,
        treatments,
        values,
        between: between_three,
        within: three(&within),
        f: between[3],
        r_squared,
    })
}

fn assert_near(set: &Anova, what: &str, found: f64, certified: f64, tolerance: f64) {
    let error = (found / certified - 1.0).abs();
    println!("nist: {} {what}: {:.1} digits", set.name, -error.max(1e-16).log10());
    assert!(error <= tolerance, "{} {what}: {found} {certified}, {tolerance:e} allowed", set.name);
}

#[test]
fn analyses_of_variance_are_those_that_nist_certifies() {
    let cluster = cluster();
    let names = ["SiRstv", "SmLs01", "SmLs02", "SmLs03", "AtmWtAg", "SmLs04", "SmLs05", "SmLs06"];
    for set in names.into_iter().filter_map(anova) {
        let (n, k) = (set.replicates as f64, set.treatments as f64);
        for (csr, block_rows) in [(false, 7), (false, 100_000), (true, 7)] {
            let dense = Array::from_slice(set.replicates, set.treatments, &set.values).expect("balanced");
            let array = if csr { dense.to_csr().expect("few columns") } else { dense }.with_block_rows(block_rows);
            let asked = [
                (Statistic::Mean, Over::EachColumn),
                (Statistic::Var { ddof: 0 }, Over::EachColumn),
                (Statistic::Var { ddof: 0 }, Over::Whole),
            ];
            let found = array.reduce_many(&cluster, &asked, None).expect("small");
            let means = Array::from_slice(set.treatments, 1, &found[0]).expect("one column");
            let between = means.var(&cluster, Over::Whole, 0).expect("small")[0] * k * n;
            let within = n * found[1].iter().sum::<f64>();
            let total = found[2][0] * k * n;
            // A value is rounded to so much of the deviation; squares and quotients of them lose it twice or four times.
            let deviation = (set.within[2]).sqrt();
            let mean = found[0].iter().sum::<f64>() / k;
            let lost = 1e-13 + 4.0 * f64::EPSILON * mean.abs() / deviation;
            assert_near(&set, "between", between, set.between[1], lost);
            assert_near(&set, "within", within, set.within[1], lost);
            assert_near(&set, "total", total, set.between[1] + set.within[1], lost);
            assert_near(&set, "R squared", between / total, set.r_squared, 2.0 * lost);
            let f = (between / set.between[0]) / (within / set.within[0]);
            assert_near(&set, "F", f, set.f, 2.0 * lost);
        }
    }
}
