//! Ranges of integers, recognised behind an iterator so that they can be split without being walked.
//!
//! `batched_map` takes any iterator type, so it asks the type's identity: of a range's type it takes the first item and
//! the length, both through the ordinary `Iterator` interface. All of it is decided when the program is compiled.

use std::any::{Any, TypeId};
use std::marker::PhantomData;
use std::ops::{Range, RangeInclusive};

/// Consecutive integers of type `A`.
#[derive(Debug)]
pub(super) struct Span<A> {
    /// The first one's bits, sign-extended: what wraps in 64 bits wraps alike in fewer.
    first: u64,
    pub(super) len: u64,
    items: PhantomData<fn() -> A>,
}

macro_rules! integers {
    ($use:ident) => {
        $use!(i8, i16, i32, i64, isize, u8, u16, u32, u64, usize)
    };
}

fn is_range<I>() -> bool {
    let id = typeid::of::<I>();
    macro_rules! any {
        ($($int:ty),+) => { $(id == TypeId::of::<Range<$int>>() || id == TypeId::of::<RangeInclusive<$int>>())||+ };
    }
    integers!(any)
}

impl<A: 'static> Span<A> {
    /// Takes the items out of a range; any other iterator is left alone.
    pub(super) fn of<I: Iterator<Item = A>>(items: &mut I) -> Option<Self> {
        if !is_range::<I>() {
            return None;
        }
        // A range longer than the address space has no length; it would not end either, so it is walked.
        let (least, Some(most)) = items.size_hint() else { return None };
        let first = items.next().map_or(0, bits);
        (least == most).then_some(Span { first, len: most as u64, items: PhantomData })
    }

    /// Returns the item at `offset`, which is below `len`.
    #[inline]
    pub(super) fn at(&self, offset: u64) -> A {
        item(self.first.wrapping_add(offset))
    }
}

/// Returns the bits of one of the integers.
fn bits<A: 'static>(item: A) -> u64 {
    let item: &dyn Any = &item;
    macro_rules! try_all {
        ($($int:ty),+) => { $(if let Some(item) = item.downcast_ref::<$int>() { return *item as u64; })+ };
    }
    integers!(try_all);
    unreachable!("a span is made of integers only")
}

/// Returns the integer with these bits. The chain of types is resolved when the program is compiled.
#[inline]
fn item<A: 'static>(bits: u64) -> A {
    macro_rules! try_all {
        ($($int:ty),+) => { $(
            let mut item = Some(bits as $int);
            let item: &mut dyn Any = &mut item;
            if let Some(item) = item.downcast_mut::<Option<A>>() {
                return item.take().expect("it was just put there");
            }
        )+ };
    }
    integers!(try_all);
    unreachable!("a span is made of integers only")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_split_and_nothing_else_is() {
        let signed = Span::of(&mut (-3i8..4)).expect("a range");
        assert_eq!((0..signed.len).map(|k| signed.at(k)).collect::<Vec<_>>(), [-3, -2, -1, 0, 1, 2, 3]);
        let inclusive = Span::of(&mut (250u8..=255)).expect("a range");
        assert_eq!((inclusive.len, inclusive.at(5)), (6, 255));
        #[expect(clippy::reversed_empty_ranges, reason = "an empty range is what is tested")]
        let empty = Span::of(&mut (5u64..3)).expect("a range");
        assert_eq!(empty.len, 0);
        assert!(Span::of(&mut (0..10).step_by(2)).is_none());
        assert!(Span::of(&mut vec![1, 2].into_iter()).is_none());
        assert!(Span::of(&mut (0u64..)).is_none());
        assert!(Span::of(&mut (0..=u64::MAX)).is_none(), "2^64 items have no length");
    }

    #[test]
    fn the_whole_of_a_wide_range_is_reached() {
        let span = Span::of(&mut (i64::MIN..i64::MAX)).expect("a range");
        assert_eq!((span.len, span.at(span.len - 1)), (u64::MAX, i64::MAX - 1));
    }
}
