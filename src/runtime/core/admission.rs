//! Who may start now: bytes are granted before a lane starts, all of them or none.
//!
//! A task that needs no bytes always may. Else, for a task of need `n` on worker `w`:
//!
//! 1. **Fits**: `n` is free in `w`'s allowance and in the cluster's: granted.
//! 2. **Loan**: it heads its queue, `w` holds nothing, and the whole cluster has `n` free: it borrows what idle workers
//!    do not use.
//! 3. **Alone**: it heads its queue and no running task holds a grant: it runs by the lone token, whatever `n` is. (What
//!    exceeds all allowances together was refused at submission, unless the caller said `allow_oversize`.)
//! 4. Else it **claims**: one task in the cluster at a time. While a claim stands nobody else is granted bytes, except
//!    tasks that a running task waits for (`waiting.rs`), so what is held only shrinks until the claim is met.
//! 5. A head that must wait for its own worker's other lanes lets at most [`PASSES`] smaller tasks pass.
//!
//! **Why it cannot wedge.** Take any moment at which a task is queued and user code, where it runs, ends. (a) If no
//! running task holds a grant, the head of any queue starts on the next free lane of its worker by rule 3, and a lane is
//! free because running tasks end. (b) Else some running task holds a grant. Follow what it waits for inside its own
//! code: the path is finite, because cycles are refused, and it ends at a task that runs, which ends; or at a queued
//! one, which the waiting lane itself may start, or which fails typed (`waiting.rs`); so the path shortens and the
//! holder ends and its grant returns. (c) With a claim standing no new grants are made outside wait paths, so by (b) the
//! number of grants falls to zero unless the claim fits earlier; then (a) applies to the claim, which every free lane
//! tries first. (d) Rule 5 bounds how often a head is passed, and a claim is always tried first, so each queued task
//! becomes head, claims and starts. Bytes that outlive their task (`task::keep`: partials that wait to be joined) make a
//! claim wait, but the rule that ends the wait counts running tasks and not bytes. Outside the argument: user code that never ends (deadlines answer its future and
//! replace its lane), user locks held across a wait, a disk that never answers.
//!
//! **Bound.** Reserved bytes ≤ Σ allowances + the excess of one lone task (beside what is kept) + the overdraft of nested waits, which is 0
//! unless tasks wait inside tasks.

use super::*;

/// How many smaller tasks may pass one that waits for memory.
pub(super) const PASSES: usize = 64;

impl<W: Clone> Core<W> {
    /// Grants a queued task what it needs on `worker`, or says no. `head`: nothing before it in its queue was refused.
    pub(super) fn admit(&mut self, id: TaskId, worker: usize, queue: usize, head: bool) -> Option<Option<Reservation>> {
        let entry = self.tasks.get(id)?;
        if entry.pinned.is_some_and(|pinned| pinned != worker) {
            return None;
        }
        if entry.need == 0 {
            return Some(None);
        }
        if self.claim.is_some_and(|claim| claim != id) {
            return None;
        }
        let need = entry.need;
        let budget = self.workers[worker].budget.clone();
        if let Some(grant) = budget.try_reserve(need) {
            return Some(Some(grant));
        }
        if !head || queue != worker {
            return None;
        }
        let grant = self.loan_or_lone(worker, need);
        if grant.is_none() {
            self.claim = Some(id);
        }
        grant.map(Some)
    }

    /// Grants the claim what it needs on `worker`, if it may have it there now.
    pub(super) fn admit_claim(&mut self, id: TaskId, worker: usize) -> Option<Option<Reservation>> {
        let entry = self.tasks.get(id)?;
        if !matches!(entry.state, State::Queued { .. }) || entry.pinned.is_some_and(|pinned| pinned != worker) {
            return None;
        }
        let need = entry.need;
        if let Some(grant) = self.workers[worker].budget.try_reserve(need) {
            return Some(Some(grant));
        }
        self.loan_or_lone(worker, need).map(Some)
    }

    fn loan_or_lone(&mut self, worker: usize, need: u64) -> Option<Reservation> {
        let budget = &self.workers[worker].budget;
        if budget.used() == 0
            && let Some(loan) = budget.try_borrow(need)
        {
            self.counts.loans += 1;
            return Some(loan);
        }
        if self.granted == 0 {
            self.counts.lone += 1;
            return Some(budget.overdraw(need));
        }
        None
    }
}
