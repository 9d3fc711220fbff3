//! What stands where no chunk is stored: the fill value, as the bytes or the text of one element.

use serde_json::Value;

use super::{Element, Flaw};
use crate::array::DType;

/// A fill value.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Fill {
    /// The bytes of a number as this machine has it, or of anything else of a fixed width.
    Bytes(Vec<u8>),
    /// A text.
    Text(String),
}

impl Fill {
    /// Reads the fill value of either version. Records and types that are not read are filled with zeros.
    pub(super) fn read(json: Option<&Value>, element: &Element) -> Result<Fill, Flaw> {
        let json = json.unwrap_or(&Value::Null);
        Ok(match element {
            Element::Number { dtype, half, .. } => {
                let flaw = || Flaw::Bad(format!("a fill value of type {dtype}"), json.to_string());
                let value = if json.is_null() { Some(vec![0; dtype.size_of()]) } else { number(json, *dtype, *half) };
                Fill::Bytes(value.ok_or_else(flaw)?)
            }
            // Version 2 writes 0 for an empty text; the bytes of fixed texts are written in ways that differ.
            Element::Texts => Fill::Text(json.as_str().unwrap_or_default().to_string()),
            Element::Utf32 { .. } | Element::Bytes { .. } => Fill::Text(String::new()),
            Element::Record { width, .. } => Fill::Bytes(vec![0; *width]),
            Element::Other { .. } => Fill::Bytes(Vec::new()),
        })
    }

    /// Returns the bytes of a number.
    pub(in super::super) fn bytes(&self) -> &[u8] {
        match self {
            Fill::Bytes(bytes) => bytes,
            Fill::Text(_) => &[],
        }
    }

    /// Returns the text.
    pub(in super::super) fn text(&self) -> &str {
        match self {
            Fill::Text(text) => text,
            Fill::Bytes(_) => "",
        }
    }
}

/// Returns the bytes of a number: JSON's own, `"NaN"` and `"Infinity"`, or a float's bits as `"0x7fc00000"`.
fn number(json: &Value, dtype: DType, half: bool) -> Option<Vec<u8>> {
    let float = match json {
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" | "inf" => Some(f64::INFINITY),
            "-Infinity" | "-inf" => Some(f64::NEG_INFINITY),
            bits => from_bits(u64::from_str_radix(bits.strip_prefix("0x")?, 16).ok()?, dtype, half),
        },
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        other => other.as_f64(),
    };
    let whole = json.as_i64().or_else(|| float.filter(|x| x.fract() == 0.0 && x.abs() < 9e18).map(|x| x as i64));
    Some(match dtype {
        DType::Bool => vec![u8::from(float? != 0.0)],
        DType::U8 => u8::try_from(whole?).ok()?.to_ne_bytes().to_vec(),
        DType::U16 => u16::try_from(whole?).ok()?.to_ne_bytes().to_vec(),
        DType::U32 => u32::try_from(whole?).ok()?.to_ne_bytes().to_vec(),
        DType::U64 => json.as_u64().or_else(|| u64::try_from(whole?).ok())?.to_ne_bytes().to_vec(),
        DType::I8 => i8::try_from(whole?).ok()?.to_ne_bytes().to_vec(),
        DType::I16 => i16::try_from(whole?).ok()?.to_ne_bytes().to_vec(),
        DType::I32 => i32::try_from(whole?).ok()?.to_ne_bytes().to_vec(),
        DType::I64 => whole?.to_ne_bytes().to_vec(),
        DType::F32 => (float? as f32).to_ne_bytes().to_vec(),
        DType::F64 => float?.to_ne_bytes().to_vec(),
    })
}

fn from_bits(bits: u64, dtype: DType, half: bool) -> Option<f64> {
    match dtype {
        DType::F32 if half => Some(f64::from(widened(u16::try_from(bits).ok()?))),
        DType::F32 => Some(f64::from(f32::from_bits(u32::try_from(bits).ok()?))),
        DType::F64 => Some(f64::from_bits(bits)),
        _ => None,
    }
}

/// Turns the bits of a half float into the float32 of the same value (IEEE 754-2008, §3.4).
pub(in super::super) fn widened(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (u32::from(bits >> 15) << 31, u32::from(bits >> 10 & 31), u32::from(bits & 0x3ff));
    match exponent {
        // Below 2⁻¹⁴: so many times 2⁻²⁴, which float32 holds exactly.
        0 => f32::from_bits(sign | (fraction as f32 * 2f32.powi(-24)).to_bits()),
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_floats_widen_to_the_same_value() {
        // numpy.array([...], 'u2').view('f2').astype('f4')
        let cases =
            [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 5.960_464_5e-8), (0x03ff, 6.097_555e-5)];
        for (bits, value) in cases {
            assert_eq!(widened(bits), value);
        }
        assert!(widened(0x7c00).is_infinite() && widened(0x7e00).is_nan() && widened(0x8000).is_sign_negative());
    }

    #[test]
    fn fill_values_are_those_of_their_type_or_refused() {
        let of = |dtype, json: &str| number(&serde_json::from_str(json).expect("json"), dtype, false);
        assert_eq!(of(DType::I16, "-5"), Some((-5i16).to_ne_bytes().to_vec()));
        assert_eq!(of(DType::U64, "18446744073709551615"), Some(vec![255; 8]));
        assert_eq!(
            of(DType::F32, "\"0x7fc00000\"").map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]]).is_nan()),
            Some(true)
        );
        assert_eq!(of(DType::F64, "\"-Infinity\""), Some(f64::NEG_INFINITY.to_ne_bytes().to_vec()));
        assert_eq!(of(DType::Bool, "true"), Some(vec![1]));
        for (dtype, json) in
            [(DType::U8, "256"), (DType::U8, "-1"), (DType::I32, "0.5"), (DType::I32, "\"NaN\""), (DType::F32, "[]")]
        {
            assert_eq!(of(dtype, json), None, "{json}");
        }
    }
}
