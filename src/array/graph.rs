//! The graph of an expression: what its nodes are and which stand on which, without any of their values.
//!
//! Nodes are listed inputs first, and one that several others stand on is listed once. A graph holds names and numbers only, so
//! that a [plan](super::Plan) may outlive the chunks and matrices that it was made for.

use std::collections::HashMap;
use std::sync::Arc;

use super::expr::Expr;
use super::grid::Cuts;
use super::{Array, BlockKind, DType};

/// What a node is, for the eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It stands at the beginning: a file, random numbers, a matrix of the caller's.
    Source,
    /// It lies in the workers' stores.
    Chunks,
    /// It is computed.
    Operation,
    /// A pass over the array by something that is no array: a reduction, a factorisation.
    Pass,
}

/// A node, and the places of the nodes that it works on.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) name: Arc<str>,
    pub(super) role: Role,
    pub(super) shape: (u64, u64),
    pub(super) dtype: DType,
    pub(super) kind: BlockKind,
    /// Rows and columns of the largest block, where that was asked for or is how the chunks lie.
    pub(super) block: (Option<u64>, Option<u64>),
    pub(super) inputs: Vec<usize>,
}

/// The nodes, each after its inputs; the array itself is the last that is no pass.
#[derive(Clone, Debug, Default)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
}

impl Graph {
    /// Lists an array's nodes. Its chain was checked to be short enough to be followed on the stack.
    pub(super) fn of(array: &Array) -> Self {
        let mut graph = Graph::default();
        graph.visit(array, &mut HashMap::new());
        graph
    }

    fn visit(&mut self, array: &Array, seen: &mut HashMap<*const Expr, usize>) -> usize {
        let key = Arc::as_ptr(&array.expr);
        if let Some(place) = seen.get(&key) {
            return *place;
        }
        let mut inputs: Vec<usize> = Vec::with_capacity(array.inputs().len());
        for input in array.inputs() {
            let place = self.visit(input, seen);
            if !inputs.contains(&place) {
                inputs.push(place);
            }
        }
        self.nodes.push(Node::of(array, inputs));
        seen.insert(key, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    /// Returns the names of the nodes.
    pub(super) fn steps(&self) -> Vec<Arc<str>> {
        self.nodes.iter().map(|node| node.name.clone()).collect()
    }

    /// Adds a pass over the array.
    pub(super) fn add_pass(&mut self, name: &Arc<str>) {
        let Some(array) = self.nodes.iter().rposition(|node| node.role != Role::Pass) else { return };
        let pass = Node { name: name.clone(), role: Role::Pass, inputs: vec![array], ..self.nodes[array].clone() };
        self.nodes.push(pass);
    }
}

impl Node {
    fn of(array: &Array, inputs: Vec<usize>) -> Self {
        let longest = |cuts: Option<&Cuts>| cuts.map(Cuts::longest);
        let (role, block) = match &*array.expr {
            Expr::Chunks(_, grid) => (Role::Chunks, (Some(grid.rows.longest()), Some(grid.cols.longest()))),
            _ => {
                let role = if array.inputs().is_empty() { Role::Source } else { Role::Operation };
                (role, (longest(array.row_cuts()), longest(array.col_cuts())))
            }
        };
        let (shape, dtype, kind) = (array.shape(), array.dtype(), array.kind());
        Node { name: array.step(), role, shape, dtype, kind, block, inputs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::random;

    #[test]
    fn a_shared_node_is_listed_once_and_inputs_come_first() {
        let x = random::uniform(10, 4, 1, None);
        let sum = x.square().add(x.log1p()).expect("one shape");
        let graph = Graph::of(&sum);
        assert_eq!(graph.steps().join(" "), "random square log1p add");
        assert_eq!(
            graph.nodes.iter().map(|node| node.inputs.clone()).collect::<Vec<_>>(),
            [vec![], vec![0], vec![0], vec![1, 2]]
        );
        assert_eq!(Graph::of(&x.multiply(&x).expect("one shape")).nodes[1].inputs, [0], "one edge, not two");
    }
}
