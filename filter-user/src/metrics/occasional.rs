//! A number that takes time to find, found anew no more often than it is worth.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{task::spawn_blocking, time::timeout};

/// For how many times what it took the number then stands: one CPU has 1 % of its time for it.
const REST: u32 = 99;
/// How long whoever asks waits for it, rather than takes the last.
const PATIENCE: Duration = Duration::from_millis(500);

/// The number as it was last found.
#[derive(Clone, Debug, Default)]
pub(super) struct Occasional(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    number: Option<u64>,
    is_sought: bool,
    /// When it is to be sought again.
    again: Option<Instant>,
}

impl Occasional {
    /// The number; none where it could not be found, or not yet. If it is time, `find` does so on a
    /// thread of its own.
    pub(super) async fn number(
        &self,
        find: impl FnOnce() -> Option<u64> + Send + 'static,
    ) -> Option<u64> {
        if self.begins() {
            let found = self.clone();
            let finding = spawn_blocking(move || found.seek(find));
            drop(timeout(PATIENCE, finding).await);
        }
        self.lock().number
    }

    fn begins(&self) -> bool {
        let mut state = self.lock();
        let is_time = state.again.is_none_or(|again| Instant::now() >= again);
        let begins = is_time && !state.is_sought;
        state.is_sought |= begins;
        begins
    }

    fn seek(&self, find: impl FnOnce() -> Option<u64>) {
        let begun = Instant::now();
        let number = find();
        let now = Instant::now();
        *self.lock() = State {
            number,
            is_sought: false,
            again: Some(now + (now - begun) * REST),
        };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread::sleep};

    use super::*;

    #[tokio::test]
    async fn a_number_that_took_long_stands_for_longer() {
        const LONG: Duration = Duration::from_millis(100);
        let number = Occasional::default();
        let slowly = || {
            sleep(LONG);
            Some(1)
        };
        let begun = Instant::now();
        assert_eq!(number.number(slowly).await, Some(1));
        let again = number.lock().again.unwrap();
        assert!(again - begun >= LONG * 100, "{:?}", again - begun);
        assert_eq!(number.number(|| Some(2)).await, Some(1));
    }

    #[tokio::test]
    async fn a_number_that_took_no_time_is_found_anew() {
        let number = Occasional::default();
        assert_eq!(number.number(|| Some(1)).await, Some(1));
        number.lock().again = Some(Instant::now());
        assert_eq!(number.number(|| Some(2)).await, Some(2));
        number.lock().again = Some(Instant::now());
        assert_eq!(number.number(|| None).await, None);
    }

    #[tokio::test]
    async fn nobody_waits_long_and_it_is_sought_once_at_a_time() {
        let number = Occasional::default();
        let (found, finding) = mpsc::channel();
        let find = move || finding.recv().ok();
        assert_eq!(number.number(find).await, None);
        let (twice, sought) = mpsc::channel();
        let again = move || twice.send(2).ok().and(Some(2));
        assert_eq!(number.number(again).await, None);
        assert!(sought.recv().is_err(), "it is sought already");
        found.send(1).unwrap();
        while number.lock().number.is_none() {
            tokio::task::yield_now().await;
        }
        assert_eq!(number.lock().number, Some(1));
    }
}
