//! Arrays as bytes: an expression written down, to be read and computed by another process.
//!
//! ```text
//!   "alloplan"  version  order  length  checksum │ nodes, inputs before what stands on them │ grid
//! ```
//!
//! What travels is the expression, not the values: of a file its address, of random numbers their seed. A matrix that the
//! caller handed over travels whole, so plans have a size limit. Closures and chunks of this process cannot travel, and
//! say so when the plan is written.
//!
//! Nothing is believed on reading. The checksum finds damage; then every node is made anew by the same functions that a
//! program calls, with all their checks, and must have the shape, dtype and kind that stand beside it. Bytes from an enemy
//! can so describe a wrong plan, but none that could not have been written by hand.
//!
//! The body is [postcard's documented format](https://postcard.jamesmunns.com/wire-format); the envelope says which version.

use std::collections::HashMap;
use std::sync::Arc;

use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

use super::binary::Binary;
use super::expr::{BlockMap, Expr, to_usize};
use super::grid::Cuts;
use super::matmul::Product;
use super::random::Random;
use super::rows::RowSelection;
use super::{Array, Block, BlockKind, CsrBlock, DType, DenseBlock, Kernel, Values};
use crate::error::{Error, Result};

const MAGIC: [u8; 8] = *b"alloplan";
/// Raised whenever what stands below changes its meaning.
const VERSION: u16 = 1;
/// Reads as another number on a machine of the other byte order.
const ORDER: u16 = 0x0102;
const HEADER: usize = 8 + 2 + 2 + 8 + 4;
/// Plans are descriptions; who has more to say has data, and data belong into a file.
const MOST_BYTES: usize = 64 << 20;

/// Where a file's matrix is: what another process needs to open it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceAddress {
    /// The format's name, such as `npy`.
    pub format: String,
    /// The file's path, absolute.
    pub path: String,
    /// The matrix in the file, where a file has several.
    pub item: String,
}

/// An array on paper: its nodes, the last of which is the array itself, and its grid.
#[derive(Serialize, Deserialize)]
struct Written {
    nodes: Vec<Node>,
    row_cuts: Option<Cuts>,
    col_cuts: Option<Cuts>,
}

#[derive(Serialize, Deserialize)]
struct Node {
    shape: (u64, u64),
    dtype: DType,
    is_csr: bool,
    step: Step,
}

/// What a node does; inputs are places in the list of nodes.
#[derive(Serialize, Deserialize)]
enum Step {
    Source(SourceAddress),
    Random(Random),
    Zeros,
    Dense(Vec<u8>),
    Csr(Vec<u64>, Vec<u32>, Vec<u8>),
    Kernel(u32, Kernel),
    RowsFrom(u32, u64),
    RowList(u32, Arc<[u64]>),
    Columns(u32, Vec<u64>),
    AsType(u32),
    ToKind(u32),
    Transpose(u32),
    Binary(u32, u32, Binary),
    VStack(Vec<u32>),
    HStack(Vec<u32>),
    MatMul(u32, Matrix, Vec<f64>),
    MatMulCentred(u32, Matrix, Vec<f64>),
    Dot(u32, u32),
    Named(u32, String, Option<u64>),
}

/// A dense matrix by columns.
#[derive(Serialize, Deserialize)]
struct Matrix {
    rows: u64,
    cols: u64,
    values: Vec<f64>,
}

impl Matrix {
    fn of(matrix: &DMatrix<f64>) -> Matrix {
        Matrix { rows: matrix.nrows() as u64, cols: matrix.ncols() as u64, values: matrix.as_slice().to_vec() }
    }

    fn read(self) -> Result<DMatrix<f64>> {
        if self.rows.checked_mul(self.cols) != Some(self.values.len() as u64) {
            return Err(damaged(format!("a matrix of {} x {} has {} values", self.rows, self.cols, self.values.len())));
        }
        Ok(DMatrix::from_vec(self.rows as usize, self.cols as usize, self.values))
    }
}

fn damaged(found: impl std::fmt::Display) -> Error {
    Error::bad_argument("plan", "bytes", found, "those that to_plan_bytes gave")
}

fn cannot_travel(what: impl Into<Arc<str>>, instead: &'static str) -> Error {
    Error::Unsupported { what: what.into(), instead: instead.into() }
}

impl Array {
    /// Writes the array's expression down, for [`from_plan_bytes`](Self::from_plan_bytes) in this or another process.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for what cannot travel: closures (use a kernel, or
    /// [`register_kernel`](super::register_kernel)), persisted chunks and sources without an address (save them to a
    /// file), matrices of more than 64 MiB in all.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, random}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = random::normal(100, 4, 7, 25).square().transpose();
    /// let bytes = array.to_plan_bytes()?;
    /// assert!(bytes.len() < 100);
    /// let again = Array::from_plan_bytes(&bytes, |address| allotment::io::open_address(address))?;
    /// assert_eq!(again.compute(&cluster)?.to_vec::<f64>(), array.compute(&cluster)?.to_vec::<f64>());
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn to_plan_bytes(&self) -> Result<Vec<u8>> {
        self.check_length()?;
        let (mut nodes, mut bytes) = (Vec::new(), 0);
        self.write(&mut nodes, &mut HashMap::new(), &mut bytes)?;
        seal(&Written { nodes, row_cuts: self.row_cuts.clone(), col_cuts: self.col_cuts.clone() })
    }

    /// Reads an expression that [`to_plan_bytes`](Self::to_plan_bytes) wrote; `open` opens the files it names, as
    /// [`io::open_address`](crate::io::open_address) does.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] for bytes that are damaged, cut short, of another version or not a plan; those of opening files and of the
    /// operations themselves.
    pub fn from_plan_bytes(bytes: &[u8], open: impl Fn(&SourceAddress) -> Result<Array>) -> Result<Array> {
        let Written { nodes, row_cuts, col_cuts } = unseal(bytes)?;
        let mut arrays: Vec<Array> = Vec::with_capacity(nodes.len());
        for node in nodes {
            let kind = if node.is_csr { BlockKind::Csr } else { BlockKind::Dense };
            let (shape, dtype) = (node.shape, node.dtype);
            let array = read(node.step, (shape, dtype, kind), &arrays, &open)?;
            if (array.shape, array.dtype, array.kind) != (shape, dtype, kind) {
                let found = format!("{} {:?} {} {}", array.operation(), array.shape, array.dtype, array.kind);
                return Err(damaged(format!("{found} where {shape:?} {dtype} {kind} was written")));
            }
            arrays.push(array);
        }
        let array = arrays.pop().ok_or_else(|| damaged("no operation"))?;
        for (cuts, len) in [(&row_cuts, array.rows()), (&col_cuts, array.cols())] {
            if cuts.as_ref().is_some_and(|cuts| !cuts.cover(len)) {
                return Err(damaged(format!("a grid that is not one of {:?}", array.shape)));
            }
        }
        Ok(Array { row_cuts, col_cuts, ..array })
    }

    /// Writes the nodes below this one and itself, each once; returns its place.
    fn write(&self, nodes: &mut Vec<Node>, known: &mut HashMap<*const Expr, u32>, bytes: &mut usize) -> Result<u32> {
        if let Some(place) = known.get(&Arc::as_ptr(&self.expr)) {
            return Ok(*place);
        }
        let inputs: Result<Vec<u32>> = self.inputs().iter().map(|input| input.write(nodes, known, bytes)).collect();
        let step = self.written_step(&inputs?)?;
        *bytes += step.data_bytes();
        if *bytes > MOST_BYTES {
            let what = format!("a plan with {bytes} bytes of matrices, of which {MOST_BYTES} may travel,");
            return Err(cannot_travel(what, "save the matrices to a file and open that"));
        }
        let place = nodes.len() as u32;
        nodes.push(Node { shape: self.shape, dtype: self.dtype, is_csr: self.kind == BlockKind::Csr, step });
        known.insert(Arc::as_ptr(&self.expr), place);
        Ok(place)
    }

    fn written_step(&self, inputs: &[u32]) -> Result<Step> {
        Ok(match &*self.expr {
            Expr::Source(source) => Step::Source(source.address().ok_or_else(|| {
                cannot_travel(format!("a plan on {}", source.name()), "save the matrix to a file and open that")
            })?),
            Expr::Random(random) => Step::Random(random.clone()),
            Expr::Zeros => Step::Zeros,
            Expr::Memory(block) => match &**block {
                Block::Dense(b) => Step::Dense(b.values.as_bytes().to_vec()),
                Block::Csr(b) => Step::Csr(b.indptr.to_vec(), b.indices.to_vec(), b.values.as_bytes().to_vec()),
            },
            Expr::Chunks(..) => {
                let instead = "save the array to a file and open that, or compute() it if it is small";
                return Err(cannot_travel("a plan on chunks that lie in this process", instead));
            }
            Expr::Kernel(_, kernel) => Step::Kernel(inputs[0], kernel.clone()),
            Expr::SelectRows(_, RowSelection::From(first)) => Step::RowsFrom(inputs[0], *first),
            Expr::SelectRows(_, RowSelection::List { rows, .. }) => Step::RowList(inputs[0], rows.clone()),
            Expr::SelectColumns(_, selection) => Step::Columns(inputs[0], selection.list()),
            Expr::AsType(_) => Step::AsType(inputs[0]),
            Expr::ToKind(_) => Step::ToKind(inputs[0]),
            Expr::Transpose(_) => Step::Transpose(inputs[0]),
            Expr::Binary(_, op) => Step::Binary(inputs[0], inputs[1], *op),
            Expr::VStack(..) => Step::VStack(inputs.to_vec()),
            Expr::HStack(..) => Step::HStack(inputs.to_vec()),
            Expr::MatMul(_, product) => {
                let (right, row, is_centred) = product.parts();
                let right = Matrix::of(&right);
                if is_centred {
                    Step::MatMulCentred(inputs[0], right, row.to_vec())
                } else {
                    Step::MatMul(inputs[0], right, row.to_vec())
                }
            }
            Expr::Dot(_) => Step::Dot(inputs[0], inputs[1]),
            Expr::MapBlocks(_, map) if map.is_registered => {
                Step::Named(inputs[0], map.name.to_string(), map.bytes_per_row)
            }
            Expr::MapBlocks(_, map) => {
                let what =
                    format!("a plan with the closure {:?}, which has no form outside of this program,", map.name);
                return Err(cannot_travel(
                    what,
                    "use a kernel of the library, or register_kernel and BlockMap::kernel",
                ));
            }
        })
    }
}

impl Step {
    /// Returns the bytes of values that it carries.
    fn data_bytes(&self) -> usize {
        match self {
            Step::Dense(values) => values.len(),
            Step::Csr(indptr, indices, values) => 8 * indptr.len() + 4 * indices.len() + values.len(),
            Step::MatMul(_, right, row) | Step::MatMulCentred(_, right, row) => 8 * (right.values.len() + row.len()),
            Step::RowList(_, rows) => 8 * rows.len(),
            Step::Columns(_, columns) => 8 * columns.len(),
            Step::Kernel(_, Kernel::ScaleRows(factors) | Kernel::ScaleCols(factors)) => 8 * factors.len(),
            Step::Kernel(_, Kernel::ClipCols(bounds)) => 16 * bounds.len(),
            _ => 0,
        }
    }
}

/// Makes the array that a node describes, by the functions that programs call.
fn read(
    step: Step,
    (shape, dtype, kind): ((u64, u64), DType, BlockKind),
    arrays: &[Array],
    open: &impl Fn(&SourceAddress) -> Result<Array>,
) -> Result<Array> {
    let at =
        |place: u32| arrays.get(place as usize).ok_or_else(|| damaged(format!("input {place}, which is not there")));
    let all = |places: Vec<u32>| places.into_iter().map(|place| at(place).cloned()).collect::<Result<Vec<Array>>>();
    match step {
        Step::Source(address) => open(&address),
        Step::Random(random) => {
            random.check()?;
            Ok(Array::new(shape, random.dtype(), BlockKind::Dense, Expr::Random(random)))
        }
        Step::Zeros => Array::zeros(shape.0, shape.1, dtype, kind),
        Step::Dense(bytes) => {
            let block = DenseBlock::new(to_usize(shape.0)?, to_usize(shape.1)?, values_of(dtype, &bytes)?)?;
            Ok(Array::from_block(block))
        }
        Step::Csr(indptr, indices, bytes) => {
            let (rows, cols) = (to_usize(shape.0)?, to_usize(shape.1)?);
            Ok(Array::from_block(CsrBlock::new(rows, cols, indptr, indices, values_of(dtype, &bytes)?)?))
        }
        Step::Kernel(input, kernel) => at(input)?.apply(kernel),
        Step::RowsFrom(input, first) => at(input)?.select_rows(first..first.saturating_add(shape.0)),
        Step::RowList(input, rows) => at(input)?.select_rows(&rows[..]),
        Step::Columns(input, columns) => at(input)?.select_columns(columns),
        Step::AsType(input) => Ok(at(input)?.astype(dtype)),
        Step::ToKind(input) if kind == BlockKind::Csr => at(input)?.to_csr(),
        Step::ToKind(input) => Ok(at(input)?.to_dense()),
        Step::Transpose(input) => Ok(at(input)?.transpose()),
        Step::Binary(left, right, op) => at(left)?.binary(op, at(right)?),
        Step::VStack(inputs) => Array::vstack(&all(inputs)?),
        Step::HStack(inputs) => Array::hstack(&all(inputs)?),
        Step::MatMul(input, right, minus) => at(input)?.matmul_minus(&right.read()?, &minus),
        Step::MatMulCentred(input, right, mean) => at(input)?.matmul_centred(&right.read()?, &mean),
        Step::Dot(left, right) => at(left)?.dot(at(right)?),
        Step::Named(input, name, bytes_per_row) => {
            let map = BlockMap::kernel(&name, shape.1, dtype, kind)?;
            at(input)?.map_blocks(BlockMap { bytes_per_row, ..map })
        }
    }
}

/// Takes values from their bytes.
fn values_of(dtype: DType, bytes: &[u8]) -> Result<Values> {
    if !bytes.len().is_multiple_of(dtype.size_of()) {
        return Err(damaged(format!("{} bytes of {dtype}", bytes.len())));
    }
    Ok(match dtype {
        DType::Bool if bytes.iter().any(|byte| *byte > 1) => return Err(damaged("a truth value that is not 0 or 1")),
        DType::Bool => Values::Bool(bytes.to_vec().into()),
        DType::U8 => Values::U8(bytes.to_vec().into()),
        DType::U16 => Values::U16(bytemuck::pod_collect_to_vec(bytes).into()),
        DType::U32 => Values::U32(bytemuck::pod_collect_to_vec(bytes).into()),
        DType::U64 => Values::U64(bytemuck::pod_collect_to_vec(bytes).into()),
        DType::I8 => Values::I8(bytemuck::pod_collect_to_vec(bytes).into()),
        DType::I16 => Values::I16(bytemuck::pod_collect_to_vec(bytes).into()),
        DType::I32 => Values::I32(bytemuck::pod_collect_to_vec(bytes).into()),
        DType::I64 => Values::I64(bytemuck::pod_collect_to_vec(bytes).into()),
        DType::F32 => Values::F32(bytemuck::pod_collect_to_vec(bytes).into()),
        DType::F64 => Values::F64(bytemuck::pod_collect_to_vec(bytes).into()),
    })
}

/// Puts a body into its envelope.
pub(crate) fn seal(body: &impl Serialize) -> Result<Vec<u8>> {
    let unwritable =
        |error| cannot_travel(format!("a plan that has no written form ({error})"), "report it: this is a bug");
    let body = postcard::to_stdvec(body).map_err(unwritable)?;
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(ORDER.to_ne_bytes());
    bytes.extend((body.len() as u64).to_le_bytes());
    bytes.extend(crc32fast::hash(&body).to_le_bytes());
    bytes.extend(body);
    Ok(bytes)
}

/// Takes a body out of its envelope.
pub(crate) fn unseal<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T> {
    let (Some(header), true) = (bytes.get(..HEADER), bytes.starts_with(&MAGIC)) else {
        return Err(damaged(format!("{} that do not begin as a plan does", bytes.len())));
    };
    let word = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    if word(8) != VERSION {
        return Err(damaged(format!("a plan of version {}, where {VERSION} is read,", word(8))));
    }
    if u16::from_ne_bytes([header[10], header[11]]) != ORDER {
        return Err(damaged("a plan from a machine of the other byte order"));
    }
    let body = &bytes[HEADER..];
    let claimed = header[12..20].iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    // Some room for what is not values.
    if claimed != body.len() as u64 || body.len() > 2 * MOST_BYTES {
        return Err(damaged(format!("{} bytes of plan where the header says {claimed}", body.len())));
    }
    if crc32fast::hash(body).to_le_bytes() != header[20..24] {
        return Err(damaged("a plan whose checksum is another"));
    }
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(damaged(format!("{} more than the plan", rest.len()))),
        Err(error) => Err(damaged(format!("a plan that does not read ({error})"))),
    }
}

/// Takes a product for the right side apart.
impl Product {
    fn parts(&self) -> (DMatrix<f64>, &[f64], bool) {
        let (right_t, minus, shift) = self.as_written();
        let is_centred = !shift.is_empty();
        (right_t.transpose(), if is_centred { shift } else { minus }, is_centred)
    }
}

#[cfg(test)]
mod tests;
