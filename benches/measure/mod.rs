//! Timing in turns, and the table: one row a figure, ours beside a rival's, both measured in the same run.
//!
//! Ours and the rival take turns, because others use the machine too: what slows a round slows both. A row shows the median
//! of all rounds, and the median of the rounds' ratios, which a busy neighbour moves less than either time.

use std::time::Instant;

/// What one figure took, round by round.
pub(crate) struct Turns {
    pub(crate) ours: Vec<f64>,
    pub(crate) rival: Vec<f64>,
}

impl Turns {
    /// Measures ours and the rival in turns, after one round that only warms up.
    pub(crate) fn take(rounds: usize, mut ours: impl FnMut() -> f64, mut rival: impl FnMut() -> f64) -> Self {
        ours();
        rival();
        let (ours, rival) = (0..rounds).map(|_| (ours(), rival())).unzip();
        Turns { ours, rival }
    }

    /// Returns the median of ours over the rival's, round by round.
    pub(crate) fn ratio(&self) -> f64 {
        median(self.ours.iter().zip(&self.rival).map(|(ours, rival)| ours / rival).collect())
    }
}

/// Returns how many seconds `work` takes.
pub(crate) fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// Returns the middle value.
pub(crate) fn median(values: Vec<f64>) -> f64 {
    quantile(values, 0.5)
}

/// Returns the value below which this share of all lies.
pub(crate) fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len() - 1;
    values[(last as f64 * share).round() as usize]
}

/// Prints the head of the table.
pub(crate) fn head() {
    println!("| figure | ours | rival | ratio | goal |");
    println!("| --- | ---: | ---: | ---: | --- |");
}

/// Prints the row of one figure: ours, the rival, how they compare, what is aimed at.
pub(crate) fn row(figure: &str, turns: &Turns, show: impl Fn(f64) -> String, rival: &str, goal: &str) {
    let (ours, theirs) = (show(median(turns.ours.clone())), show(median(turns.rival.clone())));
    println!("| {figure} | {ours} | {theirs} ({rival}) | {:.2} | {goal} |", turns.ratio());
}
