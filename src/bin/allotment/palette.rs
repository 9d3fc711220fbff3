//! The colours of pictures: one for each class, a ramp for numbers, grey for what is missing.
//!
//! The class colours are those single-cell pictures commonly use, tuned to be told apart on white; the ramp is
//! viridis, which keeps its order for colour-blind readers and in grey print.

use plotters::style::RGBColor;

/// The colour of a point whose class or number is missing.
pub(crate) const MISSING: RGBColor = RGBColor(211, 211, 211);
/// The colour of the classes that have none of their own.
pub(crate) const OTHER: RGBColor = RGBColor(110, 110, 110);
/// How many classes can be told apart.
pub(crate) const N_CLASSES: usize = CLASSES.len();

const CLASSES: [u32; 28] = [
    0x1f77b4, 0xff7f0e, 0x279e68, 0xd62728, 0xaa40fc, 0x8c564b, 0xe377c2, 0xb5bd61, 0x17becf, 0xaec7e8, 0xffbb78,
    0x98df8a, 0xff9896, 0xc5b0d5, 0xc49c94, 0xf7b6d2, 0xdbdb4d, 0x9ee8e5, 0xad494a, 0x8c6d31, 0x393b79, 0x637939,
    0x7b4173, 0x003f2f, 0x3a10ff, 0x00ff66, 0xff00c8, 0x5b1a00,
];

const VIRIDIS: [u32; 9] = [0x440154, 0x472d7b, 0x3b528b, 0x2c728e, 0x21918c, 0x28ae80, 0x5ec962, 0xaddc30, 0xfde725];

/// Returns the colour of class `index`, counting from the first class that is shown.
pub(crate) fn class(index: usize) -> RGBColor {
    rgb(CLASSES[index % N_CLASSES])
}

/// Returns the colour of a number, given as its share of the way from the smallest to the largest.
pub(crate) fn shade(share: f64) -> RGBColor {
    let place = share.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    let below = (place as usize).min(VIRIDIS.len() - 2);
    let (RGBColor(r0, g0, b0), RGBColor(r1, g1, b1)) = (rgb(VIRIDIS[below]), rgb(VIRIDIS[below + 1]));
    let between = |a: u8, b: u8| (f64::from(a) + (place - below as f64) * (f64::from(b) - f64::from(a))).round() as u8;
    RGBColor(between(r0, r1), between(g0, g1), between(b0, b1))
}

fn rgb(code: u32) -> RGBColor {
    let [_, red, green, blue] = code.to_be_bytes();
    RGBColor(red, green, blue)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A distance that follows the eye better than plain RGB does ("redmean").
    fn distance(a: RGBColor, b: RGBColor) -> f64 {
        let mean_red = (f64::from(a.0) + f64::from(b.0)) / 2.0;
        let square = |x: u8, y: u8| (f64::from(x) - f64::from(y)).powi(2);
        ((2.0 + mean_red / 256.0) * square(a.0, b.0)
            + 4.0 * square(a.1, b.1)
            + (2.0 + (255.0 - mean_red) / 256.0) * square(a.2, b.2))
        .sqrt()
    }

    #[test]
    fn any_two_colours_can_be_told_apart() {
        let mut all: Vec<RGBColor> = (0..N_CLASSES).map(class).collect();
        all.extend([MISSING, OTHER, RGBColor(255, 255, 255)]);
        for (i, a) in all.iter().enumerate() {
            for b in &all[..i] {
                // 40 is about six just noticeable steps; neighbours of a continuous ramp of 28 would be at 20.
                assert!(distance(*a, *b) >= 40.0, "{a:?} and {b:?} are {} apart", distance(*a, *b));
            }
        }
    }

    #[test]
    fn the_ramp_starts_dark_ends_bright_and_never_darkens() {
        let brightness = |c: RGBColor| 0.299 * f64::from(c.0) + 0.587 * f64::from(c.1) + 0.114 * f64::from(c.2);
        let ramp: Vec<f64> = (0..=100).map(|i| brightness(shade(f64::from(i) / 100.0))).collect();
        // Rounding to whole colour steps may cost up to one step of brightness.
        assert!(ramp.windows(2).all(|pair| pair[1] >= pair[0] - 1.0));
        assert!(ramp[0] < 60.0 && ramp[100] > 200.0);
        assert_eq!(shade(-1.0), shade(0.0));
    }
}
