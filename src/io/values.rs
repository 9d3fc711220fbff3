//! From a dtype that is a value to a Rust type, for readers of all formats.

use crate::array::{Block, DType, DenseBlock, Values};

/// Evaluates `$read` with `$t` naming the Rust type of the dtype, and wraps the `Vec` it yields as `Values`.
macro_rules! read_as {
    ($dtype:expr, $t:ident => $read:expr) => {{
        use $crate::array::{Buffer, DType, Values};
        macro_rules! arm {
            ($rust:ty, $variant:ident) => {{
                type $t = $rust;
                Values::$variant(Buffer::Owned($read))
            }};
        }
        match $dtype {
            DType::Bool => arm!(u8, Bool),
            DType::U8 => arm!(u8, U8),
            DType::U16 => arm!(u16, U16),
            DType::U32 => arm!(u32, U32),
            DType::U64 => arm!(u64, U64),
            DType::I8 => arm!(i8, I8),
            DType::I16 => arm!(i16, I16),
            DType::I32 => arm!(i32, I32),
            DType::I64 => arm!(i64, I64),
            DType::F32 => arm!(f32, F32),
            DType::F64 => arm!(f64, F64),
        }
    }};
}
pub(crate) use read_as;

/// Returns the bytes of one value.
pub(crate) fn width(dtype: DType) -> u64 {
    match dtype {
        DType::Bool | DType::U8 | DType::I8 => 1,
        DType::U16 | DType::I16 => 2,
        DType::U32 | DType::I32 | DType::F32 => 4,
        DType::U64 | DType::I64 | DType::F64 => 8,
    }
}

/// Returns the dtype's name as NumPy prints it.
pub(crate) fn dtype_name(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "bool",
        DType::U8 => "uint8",
        DType::U16 => "uint16",
        DType::U32 => "uint32",
        DType::U64 => "uint64",
        DType::I8 => "int8",
        DType::I16 => "int16",
        DType::I32 => "int32",
        DType::I64 => "int64",
        DType::F32 => "float32",
        DType::F64 => "float64",
    }
}

/// Returns the values' dtype and their bytes in native order.
pub(crate) fn as_bytes(values: &Values) -> (DType, &[u8]) {
    match values {
        Values::Bool(v) => (DType::Bool, v),
        Values::U8(v) => (DType::U8, v),
        Values::U16(v) => (DType::U16, bytemuck::cast_slice(v)),
        Values::U32(v) => (DType::U32, bytemuck::cast_slice(v)),
        Values::U64(v) => (DType::U64, bytemuck::cast_slice(v)),
        Values::I8(v) => (DType::I8, bytemuck::cast_slice(v)),
        Values::I16(v) => (DType::I16, bytemuck::cast_slice(v)),
        Values::I32(v) => (DType::I32, bytemuck::cast_slice(v)),
        Values::I64(v) => (DType::I64, bytemuck::cast_slice(v)),
        Values::F32(v) => (DType::F32, bytemuck::cast_slice(v)),
        Values::F64(v) => (DType::F64, bytemuck::cast_slice(v)),
    }
}

/// Wraps row-major values as a dense block.
pub(crate) fn dense(rows: usize, cols: usize, values: Values) -> Block {
    Block::Dense(DenseBlock { rows, cols, values })
}
