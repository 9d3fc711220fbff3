//! The elementwise functions of an array by their names: each adds a [`Kernel`] to its expression.
//!
//! Integers and truth values become floats first ([`DType::to_float`](super::DType::to_float)). A function that maps zero to
//! zero works on CSR arrays, too; of the others the ones that cannot fail here return an error for CSR.

use super::{Array, Kernel};
use crate::error::Result;

// Each function has an example: a value, and what is found. Some are the system's, whose last bit may differ.

macro_rules! keeping_zeros {
    ($($(#[doc = $doc:literal])* $name:ident $kernel:ident $value:literal => $found:literal;)*) => {$(
        $(#[doc = $doc])*
        ///
        /// # Examples
        ///
        /// ```
        /// use allotment::{Cluster, array::Array};
        /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
        #[doc = concat!("let array = Array::from_rows(&[[", $value, "]])?.", stringify!($name), "();")]
        /// let found = array.compute(&cluster)?.to_vec::<f64>()[0];
        #[doc = concat!("assert!((found - ", $found, ").abs() < 1e-15);")]
        /// # Ok::<(), allotment::Error>(())
        /// ```
        pub fn $name(&self) -> Array {
            self.with_kernel(Kernel::$kernel)
        }
    )*};
}

macro_rules! filling {
    ($($(#[doc = $doc:literal])* $name:ident $kernel:ident $value:literal => $found:literal;)*) => {$(
        $(#[doc = $doc])*
        ///
        /// # Errors
        ///
        /// [`Error::Unsupported`](crate::Error::Unsupported) for a CSR array, which it would fill.
        ///
        /// # Examples
        ///
        /// ```
        /// use allotment::{Cluster, array::Array};
        /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
        #[doc = concat!("let array = Array::from_rows(&[[", $value, "]])?.", stringify!($name), "()?;")]
        /// let found = array.compute(&cluster)?.to_vec::<f64>()[0];
        #[doc = concat!("assert!((found - ", $found, ").abs() < 1e-15);")]
        /// # Ok::<(), allotment::Error>(())
        /// ```
        pub fn $name(&self) -> Result<Array> {
            self.apply(Kernel::$kernel)
        }
    )*};
}

impl Array {
    keeping_zeros! {
        /// Takes ln(1 + x) of every value.
        log1p Log1p "1.0" => "2f64.ln()";
        /// Takes eˣ − 1 of every value.
        expm1 Expm1 "1.0" => "1f64.exp_m1()";
        /// Takes the square root of every value; NaN below zero.
        sqrt Sqrt "9.0" => "3.0";
        /// Takes the magnitude of every value.
        abs Abs "-3.0" => "3.0";
        /// Turns the sign of every value.
        negate Negate "3.0" => "-3.0";
        /// Squares every value.
        square Square "-3.0" => "9.0";
        /// Takes the sine of every value.
        sin Sin "1.0" => "1f64.sin()";
        /// Takes the tangent of every value.
        tan Tan "1.0" => "1f64.tan()";
        /// Takes the hyperbolic tangent of every value.
        tanh Tanh "1.0" => "1f64.tanh()";
        /// Rounds every value down to a whole number.
        floor Floor "-1.5" => "-2.0";
        /// Rounds every value up to a whole number.
        ceil Ceil "-1.5" => "-1.0";
        /// Rounds every value to the nearest whole number; of two to the even one, as NumPy does.
        round Round "2.5" => "2.0";
        /// Takes −1, 0 or 1 for every value, by its sign.
        sign Sign "-3.0" => "-1.0";
    }

    filling! {
        /// Takes eˣ of every value of a dense array.
        exp Exp "1.0" => "1f64.exp()";
        /// Takes the natural logarithm of every value of a dense array; NaN below zero.
        ln Ln "2.0" => "2f64.ln()";
        /// Takes the logarithm to base 2 of every value of a dense array.
        log2 Log2 "8.0" => "3.0";
        /// Takes the logarithm to base 10 of every value of a dense array.
        log10 Log10 "1000.0" => "3.0";
        /// Takes the cosine of every value of a dense array.
        cos Cos "1.0" => "1f64.cos()";
        /// Takes 1 / x of every value of a dense array.
        reciprocal Reciprocal "4.0" => "0.25";
    }

    /// Multiplies every value. In a CSR array zeros stay zero, also where the factor is not finite.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::Array};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[1u8, 3]])?.scale(0.5);
    /// assert_eq!(array.compute(&cluster)?.to_vec::<f64>(), [0.5, 1.5]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn scale(&self, factor: f64) -> Array {
        self.with_kernel(Kernel::Scale(factor))
    }

    /// Raises every value to a power.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`](crate::Error::Unsupported) for a CSR array and a power that is not positive, which would fill it.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::Array};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[4.0, 9.0]])?.powf(1.5)?;
    /// assert_eq!(array.compute(&cluster)?.to_vec::<f64>(), [8.0, 27.0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn powf(&self, power: f64) -> Result<Array> {
        self.apply(Kernel::Power(power))
    }

    /// Lifts what is below `least` and lowers what is above `most`; NaN stays.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`](crate::Error::Unsupported) for a CSR array and bounds that zero does not lie between.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::Array};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[-3.0, 0.5, 12.0]])?;
    /// assert_eq!(array.clip(-1.0, 10.0)?.compute(&cluster)?.to_vec::<f64>(), [-1.0, 0.5, 10.0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn clip(&self, least: f64, most: f64) -> Result<Array> {
        self.apply(Kernel::Clip(least, most))
    }
}
