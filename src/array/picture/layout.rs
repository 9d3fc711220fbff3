//! Places for the nodes of a graph, in layers.
//!
//! The method is Sugiyama's ("Methods for visual understanding of hierarchical system structures", 1981): nodes get layers by
//! their longest way from the beginning; an edge over several layers is led through a place in each; the order in a layer
//! follows the mean place of neighbours (barycentres), a few times down and up; then nodes move towards their neighbours as
//! far as the order and the gaps allow.
//!
//! Layout knows two directions: *along*, from layer to layer, and *across*. Whoever draws says which is down.
//!
//! Always true: the same graph gives the same places; no two nodes of a layer overlap.

/// The gap between two neighbours of a layer.
const GAP_ACROSS: f64 = 28.0;
/// The gap between two layers: room for a curve.
const GAP_ALONG: f64 = 46.0;
/// The room across that an edge takes in a layer that it passes.
const EDGE_ROOM: f64 = 10.0;
/// Beyond so many of those, edges go straight, over what is in between.
const MOST_BENDS: usize = 20_000;
/// How often orders and places are improved.
const ROUNDS: usize = 8;

/// A size or a place: across and along.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Spot {
    pub(super) across: f64,
    pub(super) along: f64,
}

/// An edge between two nodes, and where it goes.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    /// From the end of one node to the beginning of the other; each second stretch passes a layer and is straight.
    pub(super) way: Vec<Spot>,
}

/// Where everything is.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    /// The middle across and the beginning along of each node.
    pub(super) nodes: Vec<Spot>,
    pub(super) edges: Vec<Edge>,
    pub(super) size: Spot,
}

/// A node, or the place where an edge passes a layer.
struct Item {
    layer: usize,
    size: Spot,
    /// Neighbours in the layer before and in the layer after.
    before: Vec<usize>,
    after: Vec<usize>,
    middle: f64,
}

/// Returns the layer of each node: beginnings stand right before the first that works on them.
pub(super) fn layers(inputs: &[Vec<usize>]) -> Vec<usize> {
    let mut layers = vec![0; inputs.len()];
    for (node, inputs) in inputs.iter().enumerate() {
        layers[node] = inputs.iter().map(|input| layers[*input] + 1).max().unwrap_or(0);
    }
    let mut first_use = vec![usize::MAX; inputs.len()];
    for (node, inputs) in inputs.iter().enumerate() {
        inputs.iter().for_each(|input| first_use[*input] = first_use[*input].min(layers[node]));
    }
    for (node, inputs) in inputs.iter().enumerate() {
        if inputs.is_empty() && first_use[node] != usize::MAX {
            layers[node] = first_use[node] - 1;
        }
    }
    layers
}

/// Finds places for nodes of given sizes, each listed after its inputs.
pub(super) fn layout(inputs: &[Vec<usize>], sizes: &[Spot]) -> Layout {
    let layers = layers(inputs);
    let item = |(layer, size): (&usize, &Spot)| Item {
        layer: *layer,
        size: *size,
        before: Vec::new(),
        after: Vec::new(),
        middle: 0.0,
    };
    let mut items: Vec<Item> = layers.iter().zip(sizes).map(item).collect();
    let ways = lead_edges(&mut items, inputs);
    let mut rows = vec![Vec::new(); layers.iter().max().map_or(0, |last| last + 1)];
    items.iter().enumerate().for_each(|(place, item)| rows[item.layer].push(place));
    for round in 0..ROUNDS {
        sort(&mut items, &mut rows, round % 2 == 0);
    }
    rows.iter().for_each(|row| pack(&mut items, row));
    for round in 0..2 * ROUNDS {
        settle(&mut items, &rows, round % 2 == 0);
    }
    let left = items.iter().map(|item| item.middle - item.size.across / 2.0).fold(f64::INFINITY, f64::min);
    items.iter_mut().for_each(|item| item.middle -= left);
    finish(&items, &rows, ways, inputs.len())
}

/// Makes a place for each edge in each layer that it passes, and tells neighbours of each other. Returns the items of each edge.
fn lead_edges(items: &mut Vec<Item>, inputs: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let edges = || inputs.iter().enumerate().flat_map(|(to, inputs)| inputs.iter().map(move |from| (*from, to)));
    let bends: usize = edges().map(|(from, to)| items[to].layer - items[from].layer - 1).sum();
    let mut ways = Vec::new();
    for (from, to) in edges() {
        let mut way = vec![from];
        let passed = items[from].layer + 1..items[to].layer;
        for layer in passed.filter(|_| bends <= MOST_BENDS) {
            let size = Spot { across: EDGE_ROOM, along: 0.0 };
            items.push(Item { layer, size, before: Vec::new(), after: Vec::new(), middle: 0.0 });
            way.push(items.len() - 1);
        }
        way.push(to);
        for pair in way.windows(2) {
            items[pair[0]].after.push(pair[1]);
            items[pair[1]].before.push(pair[0]);
        }
        ways.push(way);
    }
    ways
}

/// Orders each layer by the mean place of neighbours, from the first layer to the last or back.
fn sort(items: &mut [Item], rows: &mut [Vec<usize>], forward: bool) {
    let number = |items: &mut [Item], row: &[usize]| {
        let half = row.len() as f64 / 2.0;
        row.iter().enumerate().for_each(|(place, item)| items[*item].middle = place as f64 - half);
    };
    rows.iter().for_each(|row| number(items, row));
    let n = rows.len();
    for step in 0..n {
        let row = &mut rows[if forward { step } else { n - 1 - step }];
        let mean = |item: &usize| {
            let neighbours = if forward { &items[*item].before } else { &items[*item].after };
            mean_of(items, neighbours)
        };
        // Items without neighbours keep their places; the others share theirs. Stable: equals keep their order.
        let places: Vec<usize> = (0..row.len()).filter(|place| mean(&row[*place]).is_some()).collect();
        let mut keyed: Vec<(f64, usize)> = row.iter().filter_map(|item| Some((mean(item)?, *item))).collect();
        keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
        places.into_iter().zip(keyed).for_each(|(place, (_, item))| row[place] = item);
        number(items, row);
    }
}

fn mean_of(items: &[Item], of: &[usize]) -> Option<f64> {
    (!of.is_empty()).then(|| of.iter().map(|item| items[*item].middle).sum::<f64>() / of.len() as f64)
}

/// Returns how far apart the middles of two neighbours are at least.
fn apart(left: &Item, right: &Item) -> f64 {
    (left.size.across + right.size.across) / 2.0 + GAP_ACROSS
}

/// Puts a layer's items side by side around zero.
fn pack(items: &mut [Item], row: &[usize]) {
    for pair in row.windows(2) {
        items[pair[1]].middle = items[pair[0]].middle + apart(&items[pair[0]], &items[pair[1]]);
    }
    let shift = mean_of(items, row).unwrap_or(0.0);
    row.iter().for_each(|item| items[*item].middle -= shift);
}

/// Moves each item towards its neighbours, as far as order and gaps allow.
///
/// Of the places that are as far left, and of those that are as far right as can be, the mean keeps every gap, as both do.
fn settle(items: &mut [Item], rows: &[Vec<usize>], forward: bool) {
    for step in 0..rows.len() {
        let row = &rows[if forward { step } else { rows.len() - 1 - step }];
        let wish = |item: &usize| {
            let item = &items[*item];
            let (before, after) = (mean_of(items, &item.before), mean_of(items, &item.after));
            let near = if forward { before.or(after) } else { after.or(before) };
            near.unwrap_or(item.middle)
        };
        let wishes: Vec<f64> = row.iter().map(wish).collect();
        let (mut low, mut high) = (wishes.clone(), wishes);
        for i in 1..row.len() {
            low[i] = low[i].max(low[i - 1] + apart(&items[row[i - 1]], &items[row[i]]));
        }
        for i in (1..row.len()).rev() {
            high[i - 1] = high[i - 1].min(high[i] - apart(&items[row[i - 1]], &items[row[i]]));
        }
        row.iter().zip(low.iter().zip(&high)).for_each(|(item, (low, high))| items[*item].middle = (low + high) / 2.0);
    }
}

/// Puts the layers one after another, and draws the edges.
fn finish(items: &[Item], rows: &[Vec<usize>], ways: Vec<Vec<usize>>, n_nodes: usize) -> Layout {
    let (mut begins, mut depths, mut end) = (Vec::new(), Vec::new(), 0.0);
    for row in rows {
        let depth = row.iter().map(|item| items[*item].size.along).fold(0.0, f64::max);
        begins.push(end);
        depths.push(depth);
        end += depth + GAP_ALONG;
    }
    // In the middle of its layer.
    let begin = |item: &Item| begins[item.layer] + (depths[item.layer] - item.size.along) / 2.0;
    let edge = |way: Vec<usize>| {
        let (from, to) = (way[0], way[way.len() - 1]);
        let mut spots = vec![Spot { across: items[from].middle, along: begin(&items[from]) + items[from].size.along }];
        for item in &way[1..way.len() - 1] {
            let (across, along) = (items[*item].middle, begins[items[*item].layer]);
            spots.push(Spot { across, along });
            spots.push(Spot { across, along: along + depths[items[*item].layer] });
        }
        spots.push(Spot { across: items[to].middle, along: begin(&items[to]) });
        Edge { way: spots }
    };
    let right = items.iter().map(|item| item.middle + item.size.across / 2.0).fold(0.0, f64::max);
    Layout {
        nodes: items[..n_nodes].iter().map(|item| Spot { across: item.middle, along: begin(item) }).collect(),
        edges: ways.into_iter().map(edge).collect(),
        size: Spot { across: right, along: (end - GAP_ALONG).max(0.0) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOX: Spot = Spot { across: 100.0, along: 40.0 };

    fn laid(inputs: &[&[usize]]) -> Layout {
        let inputs: Vec<Vec<usize>> = inputs.iter().map(|inputs| inputs.to_vec()).collect();
        layout(&inputs, &vec![BOX; inputs.len()])
    }

    #[test]
    fn a_chain_is_a_straight_line() {
        let layout = laid(&[&[], &[0], &[1], &[2]]);
        assert!(layout.nodes.iter().all(|spot| spot.across == 50.0));
        assert_eq!(layout.size, Spot { across: 100.0, along: 4.0 * 40.0 + 3.0 * GAP_ALONG });
    }

    #[test]
    fn no_two_nodes_overlap_and_inputs_come_before_what_uses_them() {
        // Pseudo-random graphs: each node works on up to three earlier ones.
        let mut state = 1u64;
        let mut below = |n: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % n
        };
        for n in [1, 2, 5, 30, 80] {
            let inputs: Vec<Vec<usize>> = (0..n)
                .map(|node| if node == 0 { vec![] } else { (0..below(4)).map(|_| below(node)).collect() })
                .collect();
            let layout = layout(&inputs, &vec![BOX; n]);
            for (node, inputs) in inputs.iter().enumerate() {
                let spot = layout.nodes[node];
                assert!(inputs.iter().all(|input| layout.nodes[*input].along + BOX.along < spot.along));
                let inside = spot.across >= 50.0 - 1e-6 && spot.across + 50.0 <= layout.size.across + 1e-6;
                assert!(inside, "{spot:?} of {:?}", layout.size);
                for other in &layout.nodes[node + 1..] {
                    let beside = (spot.across - other.across).abs() >= 100.0 + GAP_ACROSS - 1e-6;
                    assert!(spot.along != other.along || beside, "{spot:?} and {other:?}");
                }
            }
        }
    }

    #[test]
    fn a_long_edge_goes_round_what_is_in_between() {
        let layout = laid(&[&[], &[0], &[1], &[0, 2]]);
        let long = layout.edges.iter().find(|edge| edge.way.len() > 2).expect("one passes two layers");
        assert_eq!(long.way.len(), 6);
        let middle = layout.nodes[1].across;
        assert!(long.way[1..5].iter().all(|spot| (spot.across - middle).abs() >= 50.0 + GAP_ACROSS));
    }

    #[test]
    fn a_source_stands_right_before_its_first_use() {
        assert_eq!(layers(&[vec![], vec![0], vec![1], vec![], vec![2, 3]]), [0, 1, 2, 2, 3]);
    }
}
