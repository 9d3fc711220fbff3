//! The tasks that are not finished: a slab, so that an id is an index and a stale id is noticed.
//!
//! Always true: an entry exists from submission until its last attempt ended; an id is never reused, because a slot's
//! generation grows each time it is emptied.

use std::sync::Arc;

use super::LaneId;

/// A task's number within its cluster: the slot, and how often the slot was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskId(u64);

impl TaskId {
    /// Returns the id as a number that is never 0.
    pub(crate) fn as_u64(self) -> u64 {
        self.0
    }

    /// Reads what [`TaskId::as_u64`] gave.
    pub(crate) fn from_u64(raw: u64) -> Option<Self> {
        (raw != 0).then_some(TaskId(raw))
    }

    fn new(slot: usize, generation: u32) -> Self {
        TaskId((u64::from(generation) << 32) | slot as u64)
    }

    fn slot(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Its declared inputs are not all there.
    Waiting,
    /// In the queue of a worker.
    Queued {
        /// The worker.
        worker: usize,
    },
    /// On the stack of a lane.
    Running {
        /// The lane.
        lane: LaneId,
    },
}

/// What the core knows of a task.
#[derive(Debug)]
pub(crate) struct Entry<W> {
    pub(crate) state: State,
    pub(crate) name: Arc<str>,
    pub(crate) work: W,
    pub(crate) priority: i32,
    /// Bytes granted before it starts.
    pub(crate) need: u64,
    pub(crate) retries_left: u32,
    pub(crate) attempts: u32,
    pub(crate) pinned: Option<usize>,
    /// Order of submission: the oldest running task may overdraw (`waiting.rs`).
    pub(crate) seq: u64,
    /// How often smaller tasks were let past it.
    pub(crate) passed: u32,
    pub(crate) inputs: Vec<TaskId>,
    pub(crate) inputs_left: u32,
    pub(crate) dependents: Vec<TaskId>,
    /// What it waits for inside its own code.
    pub(crate) waiting_on: Option<TaskId>,
    /// Its future is already answered (cancelled, deadline); the code still runs.
    pub(crate) abandoned: bool,
}

#[derive(Debug)]
struct Slot<W> {
    generation: u32,
    entry: Option<Entry<W>>,
}

/// The slab.
#[derive(Debug)]
pub(crate) struct Table<W> {
    slots: Vec<Slot<W>>,
    free: Vec<u32>,
}

impl<W> Table<W> {
    pub(crate) fn new() -> Self {
        Table { slots: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn insert(&mut self, entry: Entry<W>) -> TaskId {
        let slot = self.free.pop().map_or_else(
            || {
                self.slots.push(Slot { generation: 0, entry: None });
                self.slots.len() - 1
            },
            |slot| slot as usize,
        );
        let place = &mut self.slots[slot];
        place.generation += 1;
        place.entry = Some(entry);
        TaskId::new(slot, place.generation)
    }

    pub(crate) fn get(&self, id: TaskId) -> Option<&Entry<W>> {
        let slot = self.slots.get(id.slot())?;
        if slot.generation == id.generation() { slot.entry.as_ref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, id: TaskId) -> Option<&mut Entry<W>> {
        let slot = self.slots.get_mut(id.slot())?;
        if slot.generation == id.generation() { slot.entry.as_mut() } else { None }
    }

    pub(crate) fn remove(&mut self, id: TaskId) -> Option<Entry<W>> {
        let slot = self.slots.get_mut(id.slot())?;
        if slot.generation != id.generation() {
            return None;
        }
        let entry = slot.entry.take()?;
        // A slot whose generations are used up is left empty for ever: ids stay unique.
        if slot.generation < u32::MAX {
            self.free.push(id.slot() as u32);
        }
        Some(entry)
    }

    /// Returns the ids of all entries, in no particular order.
    pub(crate) fn ids(&self) -> Vec<TaskId> {
        let filled = self.slots.iter().enumerate().filter(|(_, slot)| slot.entry.is_some());
        filled.map(|(i, slot)| TaskId::new(i, slot.generation)).collect()
    }

    /// Returns how many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
