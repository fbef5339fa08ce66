//! A bounded queue of lines in front of standard output, and the thread that writes them.
//!
//! A reader that pauses stops that thread alone. What finds no room is lost and counted; the next
//! line that is taken after it is preceded by one that says how many.

use std::{
    collections::VecDeque,
    fmt,
    io::Write,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use log::warn;

/// How many octets wait for a reader that pauses.
const ROOM: usize = 1 << 20;
/// How long the end waits for a reader to take what is left.
const PATIENCE: Duration = Duration::from_secs(2);

/// Makes the line that says how many were lost, if there is to be one.
type Notice = Box<dyn Fn(u64) -> Option<String> + Send>;

/// The writing end. Dropping it waits for the reader, but not for long.
pub(super) struct Queue {
    shared: Arc<Shared>,
    room: usize,
    patience: Duration,
    notice: Notice,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<String>,
    octets: usize,
    /// Since the last line that was taken.
    lost: u64,
    /// No more will come.
    is_ended: bool,
    /// No more are written: the output is closed, or all has been.
    is_over: bool,
}

impl Queue {
    /// A queue in front of `output`; its lines are whole, so that each is one call of write(2).
    pub(super) fn new(output: impl Write + Send + 'static, notice: Notice) -> Self {
        Self::with(output, notice, ROOM, PATIENCE)
    }

    fn with(
        output: impl Write + Send + 'static,
        notice: Notice,
        room: usize,
        patience: Duration,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let writer = Arc::clone(&shared);
        let thread = thread::Builder::new().name("output".to_owned());
        if let Err(error) = thread.spawn(move || writer.write(output)) {
            warn!("standard output: no thread to write it: {error}; going on without it");
            shared.lock().is_over = true;
        }
        Self {
            shared,
            room,
            patience,
            notice,
        }
    }

    /// Takes a line without its end, or loses it. Never waits for a reader.
    pub(super) fn push(&self, line: &str) {
        let line = format!("{line}\n");
        let mut state = self.shared.lock();
        if state.is_over {
            return;
        }
        // With lines lost, not before there is room for many: else there would be a notice a line.
        let room = if state.lost == 0 {
            self.room
        } else {
            self.room / 2
        };
        if state.octets + line.len() > room {
            state.lost += 1;
            let is_first = state.lost == 1;
            drop(state);
            if is_first {
                warn!("standard output: nobody reads it; leaving lines out until somebody does");
            }
            return;
        }
        let lost = std::mem::take(&mut state.lost);
        if lost > 0 {
            state.add((self.notice)(lost));
        }
        state.add(Some(line));
        drop(state);
        self.shared.changed.notify_all();
        if lost > 0 {
            warn!("standard output: {lost} lines were left out while nobody read it");
        }
    }
}

impl State {
    fn add(&mut self, line: Option<String>) {
        self.octets += line.as_ref().map_or(0, String::len);
        self.lines.extend(line);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes until the end, or until the output is closed.
    fn write(&self, mut output: impl Write) {
        while let Some(line) = self.next() {
            let written = output.write_all(line.as_bytes());
            if let Err(error) = written.and_then(|()| output.flush()) {
                // First, so that whoever reads the log learns it when it is so.
                warn!("standard output: {error}; going on without it");
                break;
            }
        }
        let mut state = self.lock();
        state.is_over = true;
        state.lines = VecDeque::new();
        self.changed.notify_all();
    }

    fn next(&self) -> Option<String> {
        let wait = |state: &mut State| state.lines.is_empty() && !state.is_ended;
        let waited = self.changed.wait_while(self.lock(), wait);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let line = state.lines.pop_front()?;
        state.octets -= line.len();
        Some(line)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let lost = std::mem::take(&mut state.lost);
        if lost > 0 {
            // Even without room: the reader may be back.
            state.add((self.notice)(lost));
        }
        state.is_ended = true;
        self.shared.changed.notify_all();
        let is_open = |state: &mut State| !state.is_over;
        let waited = self
            .shared
            .changed
            .wait_timeout_while(state, self.patience, is_open);
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        let left = state.lines.len();
        drop(state);
        if lost > 0 {
            warn!("standard output: {lost} lines were left out while nobody read it");
        }
        if timeout.timed_out() {
            warn!(
                "standard output: nobody reads it; ending with {left} lines and one begun unwritten"
            );
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, BufRead as _, BufReader, Lines, PipeReader, Read as _},
        time::Instant,
    };

    use nix::fcntl::{FcntlArg, fcntl};

    use super::*;

    const LINE: &str = "a line of thirty-one characters";
    const NEVER: Duration = Duration::from_hours(1);

    fn queue(room: usize, patience: Duration) -> (Queue, PipeReader) {
        let (reader, writer) = io::pipe().unwrap();
        let notice: Notice = Box::new(|lost| Some(format!("{lost} lost\n")));
        (Queue::with(writer, notice, room, patience), reader)
    }

    /// A queue in which there is no room: its pipe was full before the first of so many lines.
    fn full_queue(patience: Duration) -> (Queue, PipeReader, u64) {
        let (reader, mut writer) = io::pipe().unwrap();
        let size = fcntl(&writer, FcntlArg::F_GETPIPE_SZ).unwrap();
        let mut filler = vec![b'.'; size.try_into().unwrap()];
        *filler.last_mut().unwrap() = b'\n';
        writer.write_all(&filler).unwrap();
        let notice: Notice = Box::new(|lost| Some(format!("{lost} lost\n")));
        let queue = Queue::with(writer, notice, 4_096, patience);
        queue.push(LINE);
        while !queue.shared.lock().lines.is_empty() {
            thread::yield_now();
        }
        let mut taken = 0;
        while queue.shared.lock().lost == 0 {
            queue.push(LINE);
            taken += 1;
        }
        (queue, reader, taken)
    }

    /// What is read after the filler.
    fn lines(reader: PipeReader) -> Lines<BufReader<PipeReader>> {
        let mut lines = BufReader::new(reader).lines();
        assert!(lines.next().unwrap().unwrap().ends_with('.'));
        lines
    }

    #[test]
    fn what_is_pushed_is_written_in_its_order_before_the_end() {
        let (queue, reader) = queue(ROOM, NEVER);
        for number in 0..1_000 {
            queue.push(&number.to_string());
        }
        drop(queue);
        let lines = BufReader::new(reader).lines().map(Result::unwrap);
        assert!(lines.eq((0..1_000).map(|number| number.to_string())));
    }

    #[test]
    fn lines_that_find_no_room_are_counted_where_they_are_missing() {
        let (queue, reader, taken) = full_queue(NEVER);
        queue.push(LINE);
        let mut lines = lines(reader).map(Result::unwrap);
        for _ in 0..taken {
            assert_eq!(lines.next().unwrap(), LINE);
        }
        queue.push("on");
        drop(queue);
        assert!(lines.eq(["2 lost", "on"]));
    }

    #[test]
    fn what_was_lost_before_the_end_is_told_at_the_end() {
        let (queue, mut reader, _) = full_queue(NEVER);
        let reading = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        drop(queue);
        assert!(reading.join().unwrap().ends_with("\n1 lost\n"));
    }

    #[test]
    fn the_end_waits_for_a_reader_that_never_reads_no_longer_than_its_patience() {
        let patience = Duration::from_millis(200);
        let (queue, reader, _) = full_queue(patience);
        let start = Instant::now();
        drop(queue);
        assert!(start.elapsed() >= patience);
        drop(reader);
    }

    #[test]
    fn a_closed_output_is_let_go_of() {
        let (queue, reader) = queue(4_096, NEVER);
        drop(reader);
        while !queue.shared.lock().is_over {
            queue.push(LINE);
        }
        queue.push(LINE);
        assert!(queue.shared.lock().lines.is_empty());
    }
}
