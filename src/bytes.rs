//! Sizes in bytes that people can read: `ByteSize` reads "4GiB" and prints "4.0 GiB".
//!
//! Binary units (KiB, MiB, GiB, TiB) are powers of 1024, decimal ones (kB, MB, GB, TB) powers of 1000, as in every
//! peer; a bare number is bytes.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// A number of bytes that reads and prints with a unit.
///
/// # Examples
///
/// ```
/// use allotment::ByteSize;
/// let size: ByteSize = "1.5GiB".parse()?;
/// assert_eq!(size.0, 1_610_612_736);
/// assert_eq!(size.to_string(), "1.5 GiB");
/// # Ok::<(), allotment::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// Returns the size that is printed for it or the next that can be printed, so that whoever is told to give at least so
    /// much gives enough.
    pub(crate) fn rounded_up(self) -> ByteSize {
        let mut unit = 1024u64;
        while self.0 as f64 / unit as f64 >= 1023.95 && unit < 1 << 60 {
            unit <<= 10;
        }
        if self.0 < 1024 {
            return self;
        }
        // Tenths of a unit are what is printed.
        let tenths = (u128::from(self.0) * 10).div_ceil(u128::from(unit));
        ByteSize(u64::try_from((tenths * u128::from(unit)).div_ceil(10)).unwrap_or(u64::MAX))
    }
}

impl From<ByteSize> for u64 {
    fn from(size: ByteSize) -> u64 {
        size.0
    }
}

impl From<u64> for ByteSize {
    fn from(bytes: u64) -> Self {
        ByteSize(bytes)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut value = self.0 as f64 / 1024.0;
        let mut unit = 0;
        while value >= 1023.95 && unit + 1 < units.len() {
            value /= 1024.0;
            unit += 1;
        }
        write!(f, "{value:.1} {}", units[unit])
    }
}

impl FromStr for ByteSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || Error::BadSetting {
            setting: "size",
            found: format!("{text:?}").into(),
            expected: "a number of bytes with an optional unit, such as 512MiB, 4GiB or 1.5 GB".into(),
        };
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(split);
        let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1.0,
            "k" | "kib" => 1024.0,
            "m" | "mib" => 1024f64.powi(2),
            "g" | "gib" => 1024f64.powi(3),
            "t" | "tib" => 1024f64.powi(4),
            "kb" => 1e3,
            "mb" => 1e6,
            "gb" => 1e9,
            "tb" => 1e12,
            _ => return Err(refuse()),
        };
        let value: f64 = number.trim().parse().map_err(|_| refuse())?;
        let bytes = value * factor;
        if !bytes.is_finite() || bytes < 0.0 || bytes >= u64::MAX as f64 {
            return Err(refuse());
        }
        Ok(ByteSize(bytes.round() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back_to_within_its_rounding() {
        for bytes in [0, 1, 1023, 1024, 1536, 1 << 20, 3 << 30, (5u64 << 40) + 7] {
            let printed = ByteSize(bytes).to_string();
            let read: ByteSize = printed.parse().expect("what we print we read");
            assert!((read.0 as f64 - bytes as f64).abs() <= 0.05 * bytes as f64, "{printed}");
        }
    }

    #[test]
    fn what_is_rounded_up_is_enough_when_it_is_read_back() {
        for bytes in [0, 1, 1023, 1024, 1025, 8_000_000, 1 << 20, (1 << 20) - 1, (3 << 30) + 1, (5u64 << 40) + 7] {
            let read: ByteSize = ByteSize(bytes).rounded_up().to_string().parse().expect("what we print we read");
            assert!(read.0 >= bytes && read.0 as f64 <= 1.1 * bytes as f64, "{bytes}: {read}");
        }
    }

    #[test]
    fn decimal_and_binary_units_differ() {
        assert_eq!("2GB".parse::<ByteSize>().ok(), Some(ByteSize(2_000_000_000)));
        assert_eq!("2 gib".parse::<ByteSize>().ok(), Some(ByteSize(2 << 30)));
        assert_eq!("17".parse::<ByteSize>().ok(), Some(ByteSize(17)));
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in ["", "GiB", "-1GiB", "1 parsec", "1e400GiB", "NaN", "1GiB2"] {
            let error = text.parse::<ByteSize>().expect_err(text);
            assert!(error.to_string().contains("512MiB"), "{error}");
        }
    }
}
