//! Answers what comes through the control socket, from before the mount is up until everything is durable.

use std::collections::HashMap;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use lmfs_codec::Stop;
use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};

use super::control::{Request, Service};
use super::event::Event;
use super::running::Running;
use crate::progress::Progress;

/// How long a request waits for a mount that is just coming up.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long the end of the mount waits for requests that were told to stop.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

/// Answers requests.
pub struct ControlService {
    state: Mutex<State>,
    changed: Condvar,
    events: mpsc::Sender<Event>,
}

struct State {
    mount: Mount,
    /// What stops the requests under way, by number.
    requests: HashMap<u64, Stop>,
    next: u64,
}

enum Mount {
    Starting,
    Running(Arc<Running>),
    Ending,
}

/// A request under way.
struct Begun<'a> {
    running: Arc<Running>,
    // Dropped last: when it is gone, nothing of the request holds the mount.
    _number: Number<'a>,
}

struct Number<'a> {
    service: &'a ControlService,
    number: u64,
}

impl Drop for Number<'_> {
    fn drop(&mut self) {
        self.service.state.lock().requests.remove(&self.number);
        self.service.changed.notify_all();
    }
}

impl ControlService {
    /// A service for a mount that is not there yet; requests to end are passed to `events`.
    #[must_use]
    pub fn new(events: mpsc::Sender<Event>) -> ControlService {
        ControlService {
            state: Mutex::new(State {
                mount: Mount::Starting,
                requests: HashMap::new(),
                next: 0,
            }),
            changed: Condvar::new(),
            events,
        }
    }

    /// The mount is up.
    pub fn open(&self, running: Running) {
        self.state.lock().mount = Mount::Running(Arc::new(running));
        self.changed.notify_all();
    }

    /// Answers nothing any more, stops what is under way, and waits for it (a moment).
    pub fn close(&self) {
        let deadline = Instant::now() + LAST_REQUESTS;
        let mut state = self.state.lock();
        let mount = std::mem::replace(&mut state.mount, Mount::Ending);
        state.requests.values().for_each(Stop::set);
        self.changed.notify_all();
        while !state.requests.is_empty() {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                tracing::warn!("a request from the control socket does not end");
                break;
            }
        }
        drop((state, mount));
    }

    /// Begins a request, which ends early when the service closes.
    fn begin(&self, stop: &Stop) -> anyhow::Result<Begun<'_>> {
        let mut state = self.state.lock();
        let starting = |state: &mut State| matches!(state.mount, Mount::Starting);
        self.changed.wait_while_for(&mut state, starting, PATIENCE);
        let running = match &state.mount {
            Mount::Running(running) => running.clone(),
            Mount::Starting => bail!("the store is still being opened; try again"),
            Mount::Ending => bail!("the store is being unmounted"),
        };
        let number = state.next;
        state.next += 1;
        state.requests.insert(number, stop.clone());
        let service = self;
        let _number = Number { service, number };
        Ok(Begun { running, _number })
    }
}

impl Service for ControlService {
    fn handle(&self, request: Request, progress: &(dyn Fn(Progress) + Sync), stop: &Stop) -> anyhow::Result<Value> {
        match request {
            Request::Status => Ok(serde_json::to_value(self.begin(stop)?.running.status())?),
            Request::Pack {
                inodes,
                jobs,
                again,
                workers,
            } => {
                let begun = self.begin(stop)?;
                begun
                    .running
                    .pack(inodes, jobs, again, workers.as_ref(), progress, stop)
            }
            Request::Gc => self.begin(stop)?.running.gc(progress, stop),
            Request::Check { resume, max_rate } => self.begin(stop)?.running.check(resume, max_rate, progress, stop),
            Request::Sync => {
                self.begin(stop)?.running.fs.sync()?;
                Ok(json!({}))
            }
            Request::Shutdown => {
                progress(Progress {
                    stage: "unmounting".into(),
                    ..Progress::default()
                });
                let (tell, told) = mpsc::channel();
                let ending = "the daemon is ending already";
                self.events.send(Event::Asked(tell)).map_err(|_| anyhow!(ending))?;
                told.recv().map_err(|_| anyhow!(ending))??;
                Ok(json!({}))
            }
        }
    }
}
