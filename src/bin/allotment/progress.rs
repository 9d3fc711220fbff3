//! How far a command is: a bar on a terminal, plain lines in a pipe, nothing when asked to be quiet.
//!
//! Always on stderr: stdout belongs to the answer.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use allotment::runtime::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// Lines in a pipe come at most this often, so that a log of an hour stays readable.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Where progress and notes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reporter {
    Nowhere,
    Lines,
    Bar,
}

impl Reporter {
    /// Chooses by what stderr is.
    pub(crate) fn new(quiet: bool) -> Self {
        match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Reporter::Nowhere,
            (false, true) => Reporter::Bar,
            (false, false) => Reporter::Lines,
        }
    }

    /// Says something that is not an error and not the answer.
    pub(crate) fn note(self, text: &str) {
        if self != Reporter::Nowhere {
            // A stderr that is gone is no reason to stop working.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// Returns what a computation tells `(done, total)` blocks to; a computation may make several passes.
    pub(crate) fn follow(self, label: &str) -> Option<Progress> {
        match self {
            Reporter::Nowhere => None,
            Reporter::Bar => Some(bar(label)),
            Reporter::Lines => {
                let note = move |line: String| self.note(&line);
                Some(lines(label, LINE_EVERY, note))
            }
        }
    }
}

/// Which pass a computation is in, as told by its `(done, total)` calls.
#[derive(Debug)]
struct Passes {
    pass: usize,
    done: usize,
    total: usize,
    started: Instant,
}

impl Passes {
    fn new() -> Self {
        Passes { pass: 0, done: 0, total: 0, started: Instant::now() }
    }

    /// Takes one call; returns whether it is news. Calls of one pass may overtake each other, and a pass may learn late
    /// how much there is to do; it is over when all is done.
    fn tell(&mut self, done: usize, total: usize) -> bool {
        if self.pass == 0 || (self.done >= self.total && done < total) {
            *self = Passes { pass: self.pass + 1, done: 0, total, started: Instant::now() };
        }
        let news = done > self.done;
        self.total = total;
        self.done = self.done.max(done).min(total);
        news
    }

    fn label(&self, label: &str) -> String {
        if self.pass <= 1 { label.to_owned() } else { format!("{label}, pass {}", self.pass) }
    }

    fn line(&self, label: &str) -> String {
        let percent = (100 * self.done).checked_div(self.total).unwrap_or(100);
        let mut line = format!("{}: {} of {} blocks ({percent} %)", self.label(label), self.done, self.total);
        let seconds = self.started.elapsed().as_secs_f64();
        if self.done > 0 && self.done < self.total && seconds >= 1.0 {
            let rate = self.done as f64 / seconds;
            line += &format!(", {rate:.1} blocks/s, {:.0} s left", (self.total - self.done) as f64 / rate);
        }
        line
    }
}

fn lines(label: &str, every: Duration, say: impl Fn(String) + Send + Sync + 'static) -> Progress {
    let label = label.to_owned();
    let state = Mutex::new((Passes::new(), None::<Instant>));
    Arc::new(move |done, total| {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let (passes, last) = &mut *state;
        let pass_before = passes.pass;
        let news = passes.tell(done, total);
        let due = passes.pass != pass_before || done >= total || last.is_none_or(|last| last.elapsed() >= every);
        if news && due {
            *last = Some(Instant::now());
            let line = passes.line(&label);
            say(line);
        }
    })
}

fn bar(label: &str) -> Progress {
    let label = label.to_owned();
    // Nothing is drawn before it is known how much there is to do.
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
    let style = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len} blocks, {rate}, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // A bar that cannot be written is not drawn.
            let _ = write!(out, "{:.1}/s", state.per_sec());
        });
    bar.set_style(style.progress_chars("=> "));
    let state = Mutex::new(Passes::new());
    Arc::new(move |done, total| {
        let mut passes = state.lock().unwrap_or_else(PoisonError::into_inner);
        let pass_before = passes.pass;
        passes.tell(done, total);
        if passes.pass != pass_before {
            bar.reset();
            bar.set_message(passes.label(&label));
            bar.set_length(total as u64);
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        bar.set_length(total as u64);
        bar.set_position(passes.done as u64);
        if passes.done >= passes.total {
            bar.finish_and_clear();
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(every: Duration, calls: &[(usize, usize)]) -> Vec<String> {
        let lines_said = Arc::new(Mutex::new(Vec::new()));
        let sink = lines_said.clone();
        let progress = lines("pca", every, move |line| sink.lock().expect("no test panics inside").push(line));
        calls.iter().for_each(|(done, total)| progress(*done, *total));
        lines_said.lock().expect("no test panics inside").clone()
    }

    #[test]
    fn a_pipe_gets_the_first_and_the_last_line_of_each_pass() {
        let calls: Vec<(usize, usize)> = (1..=2).flat_map(|_| (1..=4).map(|done| (done, 4))).collect();
        let expected = [
            "pca: 1 of 4 blocks (25 %)",
            "pca: 4 of 4 blocks (100 %)",
            "pca, pass 2: 1 of 4 blocks (25 %)",
            "pca, pass 2: 4 of 4 blocks (100 %)",
        ];
        assert_eq!(said(Duration::from_secs(3600), &calls), expected);
    }

    #[test]
    fn lines_come_as_often_as_they_may_and_never_go_back() {
        let every_line = said(Duration::ZERO, &[(1, 3), (3, 3), (2, 3)]);
        // The late (2, 3) looks like a second pass: it is told as such, and never as a step back.
        assert_eq!(every_line[..2], ["pca: 1 of 3 blocks (33 %)", "pca: 3 of 3 blocks (100 %)"]);
        assert_eq!(said(Duration::ZERO, &[(2, 3), (1, 3)]), ["pca: 2 of 3 blocks (66 %)"]);
        let more_than_thought = said(Duration::ZERO, &[(1, 4), (6, 10), (10, 10)]);
        assert_eq!(more_than_thought[1..], ["pca: 6 of 10 blocks (60 %)", "pca: 10 of 10 blocks (100 %)"]);
    }

    #[test]
    fn no_blocks_are_not_a_division_by_zero() {
        assert_eq!(said(Duration::ZERO, &[(0, 0)]), Vec::<String>::new());
    }

    #[test]
    fn quiet_means_nothing_is_followed() {
        assert!(Reporter::new(true).follow("pca").is_none());
    }
}
