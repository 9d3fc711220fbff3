//! A progress bar with rate and remaining time, drawn by indicatif on standard error.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::ItemProgress;

/// Makes a bar that is drawn as it is told of progress, at most ten times a second.
pub(super) fn draw(label: &str) -> ItemProgress {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
    bar.set_message(label.to_owned());
    let known = "{msg} {wide_bar} {human_pos}/{human_len} {rate} eta {eta}";
    let endless = "{msg} {spinner} {human_pos} {rate} {elapsed}";
    let style = |template| {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        style.with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // A bar that cannot be written is not drawn.
            let _ = write!(out, "{:.0}/s", state.per_sec());
        })
    };
    let (known, endless) = (style(known), style(endless));
    std::sync::Arc::new(move |done, total| {
        if bar.length() != total {
            bar.set_style(if total.is_some() { known.clone() } else { endless.clone() });
            total.into_iter().for_each(|total| bar.set_length(total));
        }
        bar.set_position(done);
        if total == Some(done) {
            bar.finish();
        }
    })
}
