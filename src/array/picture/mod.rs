//! A picture of a plan: the graph of the expression, and what it takes, as SVG text.
//!
//! ```text
//!   Plan ─▶ Graph ─▶ sizes of the boxes ─▶ layout.rs: places ─▶ svg.rs: text, escaped
//! ```
//!
//! Beginnings are rounded and blue, chunks are stacked and orange, passes are green; the array itself has a thick border. Narrow
//! graphs run downwards, broad ones to the right. Names that are too long are shortened in the middle and stand in full in
//! the box's tooltip.
//!
//! Always true: the same plan gives the same text; whatever names hold, the text is well-formed XML without scripts.

mod layout;
mod svg;

use layout::{Layout, Spot};
use svg::{Svg, shortened, width};

use super::graph::{Node, Role};
use super::{Comparison, Plan};
use crate::bytes::ByteSize;
use crate::runtime::Seconds;

/// A layer of more nodes than this is drawn as a column: pages scroll downwards.
const BROAD: usize = 5;
/// Names are shortened to so many columns of text.
const LONGEST_NAME: usize = 40;
/// Around the picture.
const MARGIN: f64 = 24.0;
/// Above the graph, for what the plan says.
const HEAD: f64 = 118.0;
/// The bar of bytes against the allowance.
const BAR: f64 = 320.0;
/// The height of a line of text.
const LINE: f64 = 16.0;

impl Plan {
    /// Returns a picture of the plan as SVG: the expression's graph, tasks, bytes read, and the projected bytes of a task against
    /// the allowance.
    ///
    /// [`save_svg`](Self::save_svg) writes it to a file.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::random};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let x = random::uniform(100_000, 50, 1, None);
    /// let picture = x.square().add(x.log1p())?.plan(&cluster)?.to_svg();
    /// assert!(picture.starts_with("<svg ") && picture.contains("log1p"));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn to_svg(&self) -> String {
        draw(self, None)
    }
}

impl Comparison<'_> {
    /// Returns the picture of the plan with what was measured beside what was projected.
    pub fn to_svg(&self) -> String {
        draw(self.plan, Some(self))
    }
}

/// A node's box: its lines of text, and its width and height.
struct Frame {
    lines: Vec<String>,
    width: f64,
    height: f64,
}

impl Frame {
    fn of(node: &Node) -> Self {
        let mut lines = vec![shortened(&node.name, LONGEST_NAME)];
        if node.role == Role::Pass {
            lines.push("a pass over all blocks".into());
        } else {
            let (rows, cols) = node.shape;
            lines.push(format!("{} × {} {} {}", grouped(rows), grouped(cols), node.dtype, node.kind));
        }
        let whole = |length: u64, block: Option<u64>| block.unwrap_or(length);
        match node.block {
            _ if node.role == Role::Pass => {}
            (None, None) => {}
            (rows, cols) => {
                let (rows, cols) = (whole(node.shape.0, rows), whole(node.shape.1, cols));
                let what = if node.role == Role::Chunks { "chunks" } else { "blocks" };
                lines.push(format!("{what} of {} × {}", grouped(rows), grouped(cols)));
            }
        }
        let widest = lines.iter().enumerate().map(|(i, line)| width(line) * if i == 0 { 7.9 } else { 6.7 });
        let width = widest.fold(110.0, f64::max) + 28.0;
        Frame { width, height: 14.0 + LINE * lines.len() as f64, lines }
    }
}

/// Writes a number in groups of three digits.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn draw(plan: &Plan, measured: Option<&Comparison<'_>>) -> String {
    let nodes = &plan.graph.nodes;
    let boxes: Vec<Frame> = nodes.iter().map(Frame::of).collect();
    let inputs: Vec<Vec<usize>> = nodes.iter().map(|node| node.inputs.clone()).collect();
    let layers = layout::layers(&inputs);
    let mut counts = vec![0usize; layers.iter().max().map_or(0, |last| last + 1)];
    layers.iter().for_each(|layer| counts[*layer] += 1);
    let turned = counts.into_iter().max().unwrap_or(0) > BROAD;
    let size = |b: &Frame| match turned {
        false => Spot { across: b.width, along: b.height },
        true => Spot { across: b.height, along: b.width },
    };
    let layout = layout::layout(&inputs, &boxes.iter().map(size).collect::<Vec<_>>());
    let (graph_width, graph_height) = placed(layout.size, turned);
    let total =
        (graph_width.max(BAR + 10.0 + 7.2 * width(&against(plan))) + 2.0 * MARGIN, HEAD + graph_height + 2.0 * MARGIN);
    let mut svg = Svg::new(total, &title(plan));
    head(&mut svg, plan, measured);
    let origin = ((total.0 - graph_width) / 2.0, HEAD + MARGIN);
    draw_edges(&mut svg, &layout, origin, turned);
    let result = nodes.iter().rposition(|node| node.role != Role::Pass);
    for (i, (node, shape)) in nodes.iter().zip(&boxes).enumerate() {
        let (mut x, mut y) = placed(layout.nodes[i], turned);
        (x, y) = if turned { (x, y - shape.height / 2.0) } else { (x - shape.width / 2.0, y) };
        draw_node(&mut svg, node, shape, (origin.0 + x, origin.1 + y), result == Some(i));
    }
    svg.finish()
}

/// Returns right and down of what layout knows as across and along.
fn placed(spot: Spot, turned: bool) -> (f64, f64) {
    if turned { (spot.along, spot.across) } else { (spot.across, spot.along) }
}

fn title(plan: &Plan) -> String {
    let (rows, cols) = plan.grid.shape();
    format!("Plan of {} × {}", grouped(rows), grouped(cols))
}

fn against(plan: &Plan) -> String {
    format!("{} per task of {} per worker", ByteSize(plan.projected_bytes), ByteSize(plan.allowance))
}

/// What the plan says, in words and as a bar.
fn head(svg: &mut Svg, plan: &Plan, measured: Option<&Comparison<'_>>) {
    let (x, mut y) = (MARGIN, MARGIN + 14.0);
    svg.text((x, y), "title", &title(plan));
    let plural = |n: usize, what: &str, s: &str| format!("{} {what}{}", grouped(n as u64), if n == 1 { "" } else { s });
    let (tasks, passes) = (plural(plan.tasks, "task", "s"), plan.passes_in_words());
    let (rows, cols) = (grouped(plan.block_rows), grouped(plan.block_cols));
    y += 22.0;
    svg.text((x, y), "line", &format!("{tasks} in {passes}, one per block of up to {rows} × {cols}"));
    y += LINE + 2.0;
    svg.text((x, y), "line", &format!("{} read", ByteSize(plan.bytes_read)));
    let share = |bytes: u64| (bytes as f64 / plan.allowance.max(1) as f64).min(1.0) * BAR;
    y += 12.0;
    svg.rect((x, y), (BAR, 12.0), "allowance", 3.0);
    svg.rect((x, y), (share(plan.projected_bytes).max(1.0), 12.0), "projected", 3.0);
    svg.text((x + BAR + 10.0, y + 10.0), "line", &against(plan));
    let Some(found) = measured else { return };
    let mut words = Vec::new();
    if let Some(peak) = found.peak_bytes {
        let place = x + share(peak);
        svg.path(&format!("M {place:.1} {:.1} V {:.1}", y - 3.0, y + 15.0), "measured");
        words.push(format!("measured peak {}", ByteSize(peak)));
    }
    words.extend(found.bytes_read.map(|read| format!("{} read", ByteSize(read))));
    words.push(format!("{} in {}", plural(found.tasks, "task", "s"), Seconds(found.duration)));
    if found.failed {
        words.push("failed".into());
    }
    svg.text((x, y + 30.0), "found", &words.join(" · "));
}

fn draw_edges(svg: &mut Svg, layout: &Layout, origin: (f64, f64), turned: bool) {
    for edge in &layout.edges {
        let spots: Vec<(f64, f64)> =
            edge.way.iter().map(|spot| placed(*spot, turned)).map(|(x, y)| (origin.0 + x, origin.1 + y)).collect();
        let mut way = format!("M {:.1} {:.1}", spots[0].0, spots[0].1);
        for (i, pair) in spots.windows(2).enumerate() {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            way += &match (i % 2 == 1, turned) {
                (true, _) => format!(" L {x1:.1} {y1:.1}"),
                (false, false) => format!(" C {x0:.1} {0:.1} {x1:.1} {0:.1} {x1:.1} {y1:.1}", (y0 + y1) / 2.0),
                (false, true) => format!(" C {0:.1} {y0:.1} {0:.1} {y1:.1} {x1:.1} {y1:.1}", (x0 + x1) / 2.0),
            };
        }
        svg.path(&way, "edge");
    }
}

fn draw_node(svg: &mut Svg, node: &Node, shape: &Frame, (x, y): (f64, f64), is_result: bool) {
    let (class, radius) = match node.role {
        Role::Source => ("source", shape.height / 2.0),
        Role::Chunks => ("chunks", 2.0),
        Role::Operation => ("operation", 6.0),
        Role::Pass => ("pass", 6.0),
    };
    svg.open_group(&node.name);
    let size = (shape.width, shape.height);
    if node.role == Role::Chunks {
        svg.rect((x + 6.0, y + 6.0), size, class, radius);
        svg.rect((x + 3.0, y + 3.0), size, class, radius);
    }
    let class = if is_result { format!("{class} result") } else { class.to_owned() };
    svg.rect((x, y), size, &class, radius);
    for (i, line) in shape.lines.iter().enumerate() {
        let at = (x + shape.width / 2.0, y + 18.0 + LINE * i as f64);
        svg.text(at, if i == 0 { "name" } else { "detail" }, line);
    }
    svg.close_group();
}

#[cfg(test)]
mod tests;
