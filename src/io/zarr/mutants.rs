//! Damaged stores: crafted lies, and thousands of seeded damages to metadata and chunks.
//!
//! What comes out must be a typed error that names the store, or values of the stated shape, soon and within bounded
//! memory. `ALLOTMENT_MUTANTS=100000` raises the number of seeded damages.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::super::testing::{Damage, assert_names_the_file};
use super::super::tree::{Elements, NodeKind, Tree};
use super::*;

/// A small store cannot be so damaged that reading all of it takes longer; a sound one takes some milliseconds.
const LONGEST: Duration = Duration::from_secs(20);

/// Reads everything; each array's error must be typed and name the store.
fn read_all(path: &Path, what: &str) -> (usize, usize) {
    let (mut read, mut refused) = (0, 0);
    let mut note = |outcome: Result<usize>| match outcome {
        Ok(n) => read += n,
        Err(error) => {
            assert_names_the_file(&error, "x.zarr", what);
            refused += 1;
        }
    };
    let tree = match ZarrTree::open(path) {
        Ok(tree) => tree,
        Err(error) => {
            note(Err(error));
            return (0, 1);
        }
    };
    let mut groups = vec![String::new()];
    while let Some(group) = groups.pop() {
        note(tree.attributes(&group).map(|_| 0));
        let members = tree.members(&group);
        for (name, kind) in members.as_ref().map(Vec::as_slice).unwrap_or_default() {
            let path = if group.is_empty() { name.clone() } else { format!("{group}/{name}") };
            match kind {
                NodeKind::Group => groups.push(path),
                NodeKind::Array => note(read_array(&tree, &path)),
            }
        }
        note(members.map(|_| 0));
    }
    (read, refused)
}

fn read_array(tree: &ZarrTree, path: &str) -> Result<usize> {
    let array = tree.array(path)?;
    let all = 0..array.shape().first().copied().unwrap_or(1);
    let count: u64 = array.shape().iter().product();
    assert!(array.scratch_bytes() > 0);
    match array.elements() {
        Elements::Numbers(_) => assert_eq!(array.read(all)?.len() as u64, count),
        Elements::Texts => assert_eq!(array.read_texts(all)?.len() as u64, count),
        Elements::Records(fields) => {
            for field in fields {
                array.read_field(field)?;
            }
        }
        Elements::Other(_) => {}
    }
    Ok(1)
}

/// Unpacks a fixture into a folder that ends in `x.zarr`, and returns its files.
fn unpacked(version: u8, folder: &Path) -> Vec<PathBuf> {
    let zip =
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(format!("zarr_v{version}.zarr.zip"));
    let store = super::store::Store::open(&zip).expect("sound");
    let mut files = Vec::new();
    for key in store.keys() {
        let bytes = store.read(&key, 1 << 20).expect("sound").expect("it is listed");
        let path = folder.join("x.zarr").join(&key);
        std::fs::create_dir_all(path.parent().expect("below the folder")).expect("create");
        std::fs::write(&path, bytes).expect("write");
        files.push(path);
    }
    files
}

#[test]
fn seeded_damage_is_refused_or_leaves_whole_arrays() {
    let mutants: u64 = std::env::var("ALLOTMENT_MUTANTS").ok().and_then(|n| n.parse().ok()).unwrap_or(1500);
    let (mut read, mut refused) = (0, 0);
    for version in [2, 3] {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let files = unpacked(version, folder.path());
        let path = folder.path().join("x.zarr");
        for seed in 0..mutants / 2 {
            let mut damage = Damage::seeded(seed);
            // In version 3 the root describes all nodes: a quarter of the damage goes there.
            let root = files.iter().position(|file| version == 3 && *file == path.join("zarr.json"));
            let file = &files[root.filter(|_| damage.below(4) == 0).unwrap_or_else(|| damage.below(files.len()))];
            let whole = std::fs::read(file).expect("read");
            let mut bytes = whole.clone();
            match damage.below(8) {
                0 => bytes.truncate(damage.below(whole.len() + 1)),
                _ if bytes.is_empty() => {}
                _ => damage.apply(&mut bytes),
            }
            std::fs::write(file, &bytes).expect("write");
            let (start, what) = (Instant::now(), format!("version {version}, damage {seed} to {}", file.display()));
            let counts = match array_of(&path, file) {
                // Damage to an array is seen by reading that one.
                Some(place) => match ZarrTree::open(&path).and_then(|tree| read_array(&tree, &place)) {
                    Ok(n) => (n, 0),
                    Err(error) => {
                        assert_names_the_file(&error, "x.zarr", &what);
                        (0, 1)
                    }
                },
                None => read_all(&path, &what),
            };
            (read, refused) = (read + counts.0, refused + counts.1);
            assert!(start.elapsed() < LONGEST, "{what} took {:?}", start.elapsed());
            std::fs::write(file, &whole).expect("write");
        }
        let refused = read_all(&path, "the whole store").1;
        assert_eq!(refused, usize::from(version == 2), "only an array within a record is not read");
    }
    println!("{read} arrays read, {refused} refused");
    assert!(refused > 0 && read > 0);
}

/// Returns the array that a file belongs to.
fn array_of(store: &Path, file: &Path) -> Option<String> {
    let folder =
        file.ancestors().skip(1).find(|above| above.join(".zarray").is_file() || above.join("zarr.json").is_file());
    let place = folder?.strip_prefix(store).ok()?.to_str()?.to_string();
    let is_array = file.file_name()? != ".zattrs" && !["", "types", "codecs"].contains(&place.as_str());
    is_array.then_some(place)
}
