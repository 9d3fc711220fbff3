//! The fixed tree in which partials are joined: its shape depends on their number alone (`blocks.rs` draws it).
//!
//! [`Tree`] joins partials that come in any order, from any lane; [`Carry`] those that come in order, on one thread. Both
//! make the same joins, so a block may be a whole subtree of a tree over single items.

use std::collections::HashMap;
use std::sync::Mutex;

use super::budget::Reservation;
use super::hub::lock;
use super::task::keep;
use crate::error::Result;

/// Partials that wait for their other half.
pub(crate) struct Tree<P> {
    n: usize,
    kept_bytes: u64,
    waiting: Mutex<Waiting<P>>,
}

struct Waiting<P> {
    /// By level and place, each with its bytes, which were a part of the grant of the task that left it here. That cannot
    /// wedge: what is granted to running tasks alone decides when one may run by the lone token.
    nodes: HashMap<(u32, usize), (P, Option<Reservation>)>,
    /// A bit for each block that has come. One may come twice: when its lane was given up and ended after all.
    come: Vec<u64>,
}

impl<P> Tree<P> {
    pub(crate) fn new(n: usize, kept_bytes: u64) -> Self {
        Tree { n, kept_bytes, waiting: Mutex::new(Waiting { nodes: HashMap::new(), come: Vec::new() }) }
    }

    /// Puts a block's partial and joins upward as far as other halves are there. A block that has come before is dropped.
    pub(crate) fn put(&self, block: usize, partial: P, combine: &impl Fn(P, P) -> Result<P>) -> Result<()> {
        if !lock(&self.waiting).is_first(block) {
            return Ok(());
        }
        let (mut level, mut place, mut value) = (0, block, partial);
        while (1usize << level) < self.n {
            let sibling = place ^ 1;
            if sibling << level < self.n {
                let mut waiting = lock(&self.waiting);
                let Some((other, _kept)) = waiting.nodes.remove(&(level, sibling)) else {
                    waiting.nodes.insert((level, place), (value, keep(self.kept_bytes)));
                    return Ok(());
                };
                drop(waiting);
                value = if sibling < place { combine(other, value)? } else { combine(value, other)? };
            }
            (level, place) = (level + 1, place / 2);
        }
        lock(&self.waiting).nodes.insert((level, 0), (value, keep(self.kept_bytes)));
        Ok(())
    }

    /// Takes the whole, once all blocks have come.
    pub(crate) fn root(&self) -> Option<P> {
        lock(&self.waiting).nodes.drain().map(|(_, (value, _))| value).next()
    }
}

impl<P> Waiting<P> {
    fn is_first(&mut self, block: usize) -> bool {
        let (word, bit) = (block / 64, 1 << (block % 64));
        if self.come.len() <= word {
            self.come.resize(word + 1, 0);
        }
        let first = self.come[word] & bit == 0;
        self.come[word] |= bit;
        first
    }
}

/// Joins values that come in order as the tree does: whole subtrees meet, as bits carry in a binary counter.
pub(crate) struct Carry<T> {
    subtrees: Vec<(u32, T)>,
}

impl<T> Default for Carry<T> {
    fn default() -> Self {
        Carry { subtrees: Vec::new() }
    }
}

impl<T> Carry<T> {
    pub(crate) fn push(&mut self, value: T, combine: impl Fn(T, T) -> T) {
        let (mut level, mut value) = (0, value);
        while let Some((_, left)) = self.subtrees.pop_if(|(top, _)| *top == level) {
            value = combine(left, value);
            level += 1;
        }
        self.subtrees.push((level, value));
    }

    pub(crate) fn finish(mut self, combine: impl Fn(T, T) -> T) -> Option<T> {
        let mut joined = self.subtrees.pop()?.1;
        while let Some((_, left)) = self.subtrees.pop() {
            joined = combine(left, joined);
        }
        Some(joined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(a: String, b: String) -> Result<String> {
        Ok(format!("({a}{b})"))
    }

    #[test]
    fn both_trees_make_the_same_joins_in_any_order_of_arrival() {
        for n in 1..40 {
            let mut carry = Carry::default();
            (0..n).for_each(|i| carry.push(i.to_string(), |a, b| format!("({a}{b})")));
            let expected = carry.finish(|a, b| format!("({a}{b})"));
            // 7919 is prime, so this visits every block once.
            let tree = Tree::new(n, 0);
            (0..n).map(|i| i * 7919 % n).for_each(|i| tree.put(i, i.to_string(), &join).unwrap());
            assert_eq!(tree.root(), expected, "{n} blocks");
        }
    }

    #[test]
    fn a_block_that_comes_twice_counts_once() {
        let tree = Tree::new(3, 0);
        for block in [0, 0, 1, 0, 2, 1, 2] {
            tree.put(block, block.to_string(), &join).unwrap();
        }
        assert_eq!(tree.root().as_deref(), Some("((01)2)"));
    }
}
