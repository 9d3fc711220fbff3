//! From a dtype that is a value to a Rust type, for readers of all formats.

/// Evaluates `$read` with `$t` naming the Rust type of the dtype (`u8` for truth values), and wraps the `Vec` it yields
/// as `Values`.
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
