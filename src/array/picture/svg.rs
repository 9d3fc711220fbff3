//! SVG as text: a few shapes, one style sheet, and every word from outside escaped.

use std::fmt::Write;

/// Colours and letters of all pictures. The fonts are those of the reader's system.
const STYLE: &str = "\
text{font-family:system-ui,'Segoe UI','Helvetica Neue',Arial,'DejaVu Sans',sans-serif;fill:#222}\
.title{font-size:17px;font-weight:600}\
.line,.found{font-size:12.5px;fill:#444}\
.found{fill:#8a1c1c}\
.name{font-size:13px;font-weight:600;text-anchor:middle}\
.detail{font-size:11.5px;fill:#555;text-anchor:middle}\
.source{fill:#e6f0f8;stroke:#1f77b4}\
.chunks{fill:#fdf0e0;stroke:#d9730d}\
.operation{fill:#fff;stroke:#666}\
.pass{fill:#e9f6ef;stroke:#279e68}\
.result{stroke-width:2.5}\
.edge{fill:none;stroke:#888;stroke-width:1.3;marker-end:url(#head)}\
.allowance{fill:#eee;stroke:#bbb}\
.projected{fill:#1f77b4}\
.measured{stroke:#8a1c1c;stroke-width:2}";

/// A picture being written.
pub(super) struct Svg {
    text: String,
}

/// Writes into the text; a `String` takes whatever it is given.
macro_rules! put {
    ($svg:expr, $($part:tt)*) => {
        write!($svg.text, $($part)*).expect("writing to a string does not fail")
    };
}

impl Svg {
    /// Begins a picture of a width and a height, on white.
    pub(super) fn new((width, height): (f64, f64), title: &str) -> Self {
        let mut svg = Svg { text: String::new() };
        let title = escaped(title);
        put!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
             <defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"7.5\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
             orient=\"auto\"><path d=\"M 0 0.5 L 8 4 L 0 7.5 z\" fill=\"#888\"/></marker></defs>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        );
        svg
    }

    pub(super) fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), class: &str, radius: f64) {
        put!(
            self,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"{radius:.1}\" class=\"{class}\"/>\n"
        );
    }

    pub(super) fn path(&mut self, way: &str, class: &str) {
        put!(self, "<path d=\"{way}\" class=\"{class}\"/>\n");
    }

    pub(super) fn text(&mut self, (x, y): (f64, f64), class: &str, words: &str) {
        put!(self, "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{}</text>\n", escaped(words));
    }

    /// Begins shapes that belong together and have a tooltip.
    pub(super) fn open_group(&mut self, tooltip: &str) {
        put!(self, "<g><title>{}</title>\n", escaped(tooltip));
    }

    pub(super) fn close_group(&mut self) {
        self.text.push_str("</g>\n");
    }

    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

/// Makes text of what may hold anything: markup is escaped, and what XML does not allow, or what would turn the direction
/// of the text around it, becomes U+FFFD.
pub(super) fn escaped(words: &str) -> String {
    let mut text = String::with_capacity(words.len());
    for c in words.chars() {
        match c {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&#39;"),
            '\t' | '\n' | '\r' => text.push(' '),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => text.push('\u{fffd}'),
            c if c.is_control() => text.push('\u{fffd}'),
            c => text.push(c),
        }
    }
    text
}

/// Returns how many columns a text takes: two for a letter of the East.
pub(super) fn width(text: &str) -> f64 {
    text.chars().map(columns).sum::<usize>() as f64
}

fn columns(c: char) -> usize {
    let is_wide = matches!(u32::from(c), 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd);
    if is_wide { 2 } else { 1 }
}

/// Returns a text of at most so many columns: the middle of a longer one is left out, because paths differ at their ends.
pub(super) fn shortened(text: &str, most: usize) -> String {
    if width(text) <= most as f64 {
        return text.to_owned();
    }
    let part = |chars: &mut dyn Iterator<Item = char>, most: usize| -> Vec<char> {
        let mut used = 0;
        chars
            .take_while(|c| {
                used += columns(*c);
                used <= most
            })
            .collect()
    };
    let first = part(&mut text.chars(), (most - 1) / 2);
    let last = part(&mut text.chars().rev(), most - 1 - (most - 1) / 2);
    first.into_iter().chain(['…']).chain(last.into_iter().rev()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_written_can_break_out() {
        assert_eq!(escaped("a<b>&\"c'\n\u{1}\u{202e}"), "a&lt;b&gt;&amp;&quot;c&#39; \u{fffd}\u{fffd}");
    }

    #[test]
    fn long_names_keep_both_ends_within_their_columns() {
        assert_eq!(shortened("short", 9), "short");
        assert_eq!(shortened("/data/2024/cells.h5ad", 11), "/data….h5ad");
        let wide = shortened(&"細胞".repeat(30), 11);
        assert!(width(&wide) <= 11.0 && wide.contains('…'), "{wide}");
    }
}
