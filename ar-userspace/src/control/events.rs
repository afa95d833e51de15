//! What happens, told to whoever listens, as server-sent events.
//!
//! The daemon tells and goes on: nobody's queue is longer than [`KEPT`], and who has not taken an event by then is told
//! how many are gone.

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc};

use super::handlers::answer;
use super::problem::Problem;
use super::view::{Event, Happening};
use super::{MAX_STREAMS, Request};

/// Events that wait for slow clients, all of them together.
pub(super) const KEPT: usize = 1024;

/// How long a stream is silent at most: a comment tells that it lives.
pub(super) const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// Streams that are open, of all connections of the process.
static STREAMS: Semaphore = Semaphore::const_new(MAX_STREAMS);

/// The daemon's end: numbers what happens and hands it out. Dropping it ends all streams.
#[derive(Debug)]
pub struct Publisher {
    sender: broadcast::Sender<Arc<Event>>,
    last: Cell<u64>,
}

impl Default for Publisher {
    fn default() -> Self {
        Self {
            sender: broadcast::Sender::new(KEPT),
            last: Cell::new(0),
        }
    }
}

impl Publisher {
    /// Whether anybody listens.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Tells what happened. Never waits; what nobody hears is only counted. `time` is the wall time in RFC 3339.
    pub fn tell(&self, time: impl FnOnce() -> String, what: impl FnOnce() -> Happening) {
        let sequence = self.last.get() + 1;
        self.last.set(sequence);
        if self.is_heard() {
            let (time, what) = (time(), what());
            let event = Event {
                sequence,
                time,
                what,
            };
            // The last one may have gone this moment.
            let _ = self.sender.send(Arc::new(event));
        }
    }

    /// What happens from here on; the first is `begin`.
    #[must_use]
    pub fn subscribe(&self, time: String, begin: Happening) -> Subscription {
        Subscription {
            events: self.sender.subscribe(),
            begin: Event {
                sequence: self.last.get(),
                time,
                what: begin,
            },
        }
    }
}

/// What one client is to be told.
#[derive(Debug)]
pub struct Subscription {
    events: broadcast::Receiver<Arc<Event>>,
    begin: Event,
}

/// A connection's place among those that are served at once; an event stream gives it back, as it has a bound of its own.
#[derive(Clone, Debug)]
pub(super) struct Lease(Arc<Leased>);

#[derive(Debug)]
struct Leased {
    place: Mutex<Option<OwnedSemaphorePermit>>,
    /// How often the stream was asked for more since it was last looked at: a client that takes nothing asks for nothing.
    asked: AtomicU64,
    streams: AtomicBool,
}

impl Lease {
    pub(super) fn new(place: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(Leased {
            place: Mutex::new(Some(place)),
            asked: AtomicU64::new(0),
            streams: AtomicBool::new(false),
        }))
    }

    /// Whether the connection may go on after its time: it is a stream, and its client has taken something since the
    /// last look.
    pub(super) fn is_taken(&self) -> bool {
        self.0.asked.swap(0, Ordering::Relaxed) > 0 && self.0.streams.load(Ordering::Relaxed)
    }

    fn begin(&self) {
        self.0.streams.store(true, Ordering::Relaxed);
        self.0.asked.store(1, Ordering::Relaxed);
        let mut place = self.0.place.lock().unwrap_or_else(PoisonError::into_inner);
        drop(place.take());
    }
}

/// One stream on its way.
struct Stream {
    next: Option<Event>,
    events: broadcast::Receiver<Arc<Event>>,
    _room: tokio::sync::SemaphorePermit<'static>,
}

impl Stream {
    async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.next.take() {
            return Some(event);
        }
        let mut missed = 0;
        let event = loop {
            match self.events.recv().await {
                Ok(event) => break Event::clone(&event),
                Err(RecvError::Lagged(events)) => missed += events,
                Err(RecvError::Closed) => return None,
            }
        };
        if missed == 0 {
            return Some(event);
        }
        let told = Event {
            sequence: event.sequence - 1,
            time: event.time.clone(),
            what: Happening::Missed { events: missed },
        };
        self.next = Some(event);
        Some(told)
    }
}

/// `GET /v1/events`
pub(super) async fn stream(
    State(requests): State<mpsc::Sender<Request>>,
    Extension(lease): Extension<Lease>,
) -> Result<Response, Problem> {
    let Ok(room) = STREAMS.try_acquire() else {
        let why = format!(
            "expected at most {MAX_STREAMS} event streams at once, and so many are open; end one of them"
        );
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why));
    };
    let Subscription { events, begin } = answer(requests, Request::Events).await?;
    lease.begin();
    let first = Stream {
        next: Some(begin),
        events,
        _room: room,
    };
    let stream = stream::unfold(first, move |mut stream| async {
        let event = stream.next().await?;
        Some((written(&event), stream))
    });
    let asks = stream::poll_fn({
        let mut stream = Box::pin(stream);
        move |context| {
            lease.0.asked.fetch_add(1, Ordering::Relaxed);
            stream::Stream::poll_next(stream.as_mut(), context)
        }
    });
    let alive = KeepAlive::new().interval(ALIVE_EVERY);
    let mut response = Sse::new(asks).keep_alive(alive).into_response();
    // The connection ends with the stream: its place among the others is given away.
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    Ok(response)
}

fn written(event: &Event) -> Result<sse::Event, Infallible> {
    let plain = sse::Event::default().id(event.sequence.to_string());
    let json = serde_json::to_value(event).unwrap_or_default();
    let kind = json["type"].as_str().unwrap_or_default();
    // JSON on one line: nothing that an attacker wrote can begin a field of the stream.
    Ok(plain.event(kind).data(json.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missed(events: u64) -> Happening {
        Happening::Missed { events }
    }

    #[tokio::test]
    async fn a_slow_client_is_told_how_many_it_missed_and_stalls_nobody() {
        let publisher = Publisher::default();
        let tell = || publisher.tell(String::new, || Happening::Stop {});
        tell();
        let Subscription { events, begin } = publisher.subscribe(String::new(), missed(0));
        let mut stream = Stream {
            next: Some(begin),
            events,
            _room: STREAMS.try_acquire().unwrap(),
        };
        for _ in 0..KEPT + 10 {
            tell();
        }
        drop(publisher);
        let told = |event: &Event| (event.sequence, event.what.clone());
        assert_eq!(told(&stream.next().await.unwrap()), (1, missed(0)));
        assert_eq!(told(&stream.next().await.unwrap()), (11, missed(10)));
        for sequence in 12..=KEPT as u64 + 11 {
            let event = stream.next().await.unwrap();
            assert_eq!(told(&event), (sequence, Happening::Stop {}));
        }
        assert_eq!(stream.next().await, None);
    }
}
