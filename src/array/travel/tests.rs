//! Every node there and back, what cannot travel, and bytes that nobody wrote.

use super::*;
use crate::Cluster;
use crate::array::{BlockInfo, random, register_kernel};

fn cluster() -> Cluster {
    Cluster::builder().workers(2).build().expect("defaults")
}

fn nowhere(address: &SourceAddress) -> Result<Array> {
    Err(Error::bad_argument("test", "path", &address.path, "no file at all"))
}

fn bits(array: &Array) -> Vec<u64> {
    let block = array.compute(&cluster()).expect("small");
    block.to_vec::<f64>().into_iter().map(f64::to_bits).collect()
}

fn reverse_sign(block: Block, _: BlockInfo) -> Result<Block> {
    let (rows, cols) = block.shape();
    let values: Vec<f64> = block.to_vec::<f64>().iter().map(|value| -value).collect();
    Ok(DenseBlock::new(rows, cols, values)?.into())
}

/// An array for every kind of node, with small and odd shapes.
fn every_node() -> Vec<Array> {
    register_kernel("travel test: reverse sign", reverse_sign).expect("one function");
    let x = random::uniform(23, 6, 3, 5);
    let csr = x.subtract(0.5).and_then(|x| x.clip(0.0, 1.0)).and_then(|x| x.to_csr()).expect("six columns");
    let right = DMatrix::from_fn(6, 2, |i, j| i as f64 - j as f64);
    let factors: Vec<f64> = (0..23).map(f64::from).collect();
    let memory = Array::from_slice(2, 3, &[1u16, 0, 7, 0, 0, 9]).expect("six values");
    let truth = memory.greater(1.0).expect("a number");
    let map = BlockMap::kernel("travel test: reverse sign", 6, DType::F64, BlockKind::Dense).expect("registered");
    let made = [
        Ok(random::normal(9, 4, 1, None)),
        random::integers(9, 4, -5, 5, 2, 2),
        Array::zeros(3, 2, DType::I8, BlockKind::Csr),
        Ok(memory.clone()),
        memory.to_csr(),
        Ok(Array::from_block(CsrBlock::from_sprs(&sprs::CsMat::<f32>::eye(4)).expect("four columns"))),
        Ok(truth.clone()),
        Ok(x.log1p().square().scale(0.3)),
        x.scale_rows(&factors),
        x.scale_cols(&factors[..6]),
        Ok(csr.normalize_rows(10.0)),
        x.select_rows(3..20),
        x.select_rows(vec![22, 0, 0, 7]),
        csr.select_columns(vec![5, 1, 1]),
        Ok(x.astype(DType::F32)),
        Ok(csr.to_dense()),
        Ok(csr.transpose()),
        x.add(&csr),
        csr.greater(0.1),
        csr.multiply(&x),
        Array::vstack(&[x.clone(), x.clone()]),
        Array::hstack(&[csr.clone(), csr.clone(), csr.clone()]),
        x.matmul(&right),
        csr.matmul_minus(&right, &[1.0, -2.0]),
        x.matmul_centred(&right, &[0.5; 6]),
        x.transpose().dot(&csr),
        x.map_blocks(map),
        Ok(x.rechunk(4, 5)),
    ];
    made.into_iter().map(|array| array.expect("sound")).collect()
}

#[test]
fn every_node_computes_the_same_bits_from_its_bytes() {
    for array in every_node() {
        let bytes = array.to_plan_bytes().expect("nothing that cannot travel");
        let again = Array::from_plan_bytes(&bytes, nowhere).expect("as it was written");
        assert_eq!((again.shape(), again.dtype(), again.kind()), (array.shape(), array.dtype(), array.kind()));
        assert_eq!((again.row_cuts(), again.col_cuts()), (array.row_cuts(), array.col_cuts()));
        assert_eq!(bits(&again), bits(&array), "{array:?}");
        assert_eq!(again.to_plan_bytes().expect("as before"), bytes, "{array:?}");
    }
}

#[test]
fn what_several_nodes_stand_on_is_written_once() {
    let x = Array::from_slice(100, 10, &[1.5; 1000]).expect("its shape");
    let one = x.square().to_plan_bytes().expect("small").len();
    let four = x.square();
    let four = four.add(&four).and_then(|two| two.add(&two)).expect("one shape").to_plan_bytes().expect("small").len();
    assert!(one > 8000 && four < one + 100, "{one} {four}");
}

#[test]
fn what_cannot_travel_says_so_and_what_to_do() {
    let x = random::uniform(4, 2, 1, None);
    let closure = BlockMap::new("mine", 2, DType::F64, BlockKind::Dense, |block, _| Ok(block));
    let chunks = x.persist(&cluster()).expect("small");
    let large = Array::from_slice(1 << 10, 1 << 14, &vec![0.0; 1 << 24]).expect("its shape");
    for (array, word) in [(x.map_blocks(closure).expect("sound"), "register_kernel"), (chunks, "file"), (large, "file")]
    {
        let error = array.to_plan_bytes().expect_err("it cannot");
        assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains(word), "{error}");
    }
}

#[test]
fn damaged_and_foreign_bytes_are_refused() {
    let bytes = every_node()[7].to_plan_bytes().expect("it can");
    let read = |bytes: &[u8]| Array::from_plan_bytes(bytes, nowhere);
    for len in 0..bytes.len() {
        assert!(read(&bytes[..len]).is_err(), "{len} bytes of {}", bytes.len());
    }
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] ^= 0x10;
        assert!(read(&other).is_err(), "byte {at}");
    }
    let mut later = bytes.clone();
    later[8] += 1;
    let error = read(&later).expect_err("another version");
    assert!(error.to_string().contains("version 2"), "{error}");
    assert!(read(&[&bytes[..], &[0]].concat()).is_err());
}

/// Damage under a right checksum: what somebody could send who means harm.
#[test]
fn a_hundred_thousand_mutants_neither_panic_nor_hang_nor_allocate_without_bound() {
    let plans: Vec<Vec<u8>> = every_node().iter().map(|array| array.to_plan_bytes().expect("it can")).collect();
    let mut state = 7u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut sound, n) = (0, 100_000);
    for i in 0..n {
        let mut body = plans[i % plans.len()][HEADER..].to_vec();
        for _ in 0..1 + next(3) {
            let at = next(body.len());
            match next(4) {
                0 => body[at] ^= 1 << next(8),
                1 => body[at] = 0xFF,
                2 => drop(body.remove(at)),
                _ => body.insert(at, next(256) as u8),
            }
        }
        let mut bytes = plans[0][..12].to_vec();
        bytes.extend((body.len() as u64).to_le_bytes());
        bytes.extend(crc32fast::hash(&body).to_le_bytes());
        bytes.extend(body);
        // Whatever still is a plan can be asked what it would take.
        if let Ok(array) = Array::from_plan_bytes(&bytes, nowhere) {
            sound += 1;
            assert!(array.to_plan_bytes().is_ok());
        }
    }
    println!("{sound} of {n} mutants are plans of something else");
    assert!(sound < n, "some damage is found");
}
