//! The threads that call the module: as many as there are sessions, each with one of its own.
//!
//! Arrives: work for a session. Leaves: its outcome, or that it takes too long. A session that was lost (the token pulled
//! out, another program closing it, the module started anew) is opened again and the work done once more: every piece of
//! work here may be repeated. Nothing waits without a bound, and what nobody waits for any more is not begun.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::refusal::Refusal;
use super::token::{Open, Token};

/// The way to the threads. They end when it is dropped, each when its call into the module has returned.
pub(super) struct Threads {
    jobs: SyncSender<Job>,
    timeout: Duration,
}

impl Threads {
    /// Starts the threads; none of them calls the module before there is work.
    pub(super) fn start(token: &Arc<Token>, count: usize, timeout: Duration) -> io::Result<Self> {
        let (jobs, waiting) = sync_channel::<Job>(count * WAITING_PER_THREAD);
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..count {
            let (token, waiting) = (Arc::clone(token), Arc::clone(&waiting));
            let run = move || Worker { token, open: None }.run(&waiting);
            Builder::new().name(format!("pkcs11-{number}")).spawn(run)?;
        }
        Ok(Self { jobs, timeout })
    }

    /// Does the work on a session. It may be done twice.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Fn(&Open) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (reply, outcome) = oneshot::channel();
        let job: Job = Box::new(move |worker| {
            if !reply.is_closed() {
                // Nobody may be waiting any more.
                let _ = reply.send(worker.attempt(&work));
            }
        });
        match self.jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(Refusal::Busy),
            Err(TrySendError::Disconnected(_)) => return Err(Refusal::Nonsense("a crash")),
        }
        match timeout(self.timeout, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Refusal::Nonsense("a crash")),
            Err(_) => Err(Refusal::Slow),
        }
    }
}

type Job = Box<dyn FnOnce(&mut Worker) + Send>;

struct Worker {
    token: Arc<Token>,
    open: Option<Open>,
}

impl Worker {
    fn run(mut self, waiting: &Mutex<Receiver<Job>>) {
        loop {
            // One thread waits for work, the others for the lock: work is taken, not done, under it.
            let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(job) = job else { return };
            // A panic below the module's bindings costs the session, not the thread.
            if catch_unwind(AssertUnwindSafe(|| job(&mut self))).is_err() {
                self.open = None;
            }
        }
    }

    fn attempt<T>(&mut self, work: &dyn Fn(&Open) -> Result<T, Refusal>) -> Result<T, Refusal> {
        match self.once(work) {
            Err(refusal) if refusal.ends_session() => self.once(work),
            outcome => outcome,
        }
    }

    fn once<T>(&mut self, work: &dyn Fn(&Open) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let open = match self.open.take() {
            Some(open) => open,
            None => self.token.open()?,
        };
        let outcome = work(&open);
        // A session that failed in an unknown way is closed by not being kept.
        if !outcome.as_ref().is_err_and(|refusal| refusal.ends_session() || refusal.taints_session()) {
            self.open = Some(open);
        }
        outcome
    }
}

/// Calls that may wait for each thread: more of them would only time out.
const WAITING_PER_THREAD: usize = 32;
