//! A task that is begun again when it has panicked: a mistake of ours must not end what everybody relies on.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::engine::{later, now, until};

/// How long it rests before it is begun again, so that a mistake that repeats itself costs little.
const REST: Duration = if cfg!(test) { Duration::from_millis(1) } else { Duration::from_secs(1) };

/// Runs what `begin` makes until it ends by itself; after a panic it is made anew, and that is said.
///
/// `task` and `about` name it in the log. Runs inside a `LocalSet`.
///
/// # Cancel safety
/// Dropping the future ends the task.
pub(super) async fn supervised<F>(task: &'static str, about: &str, mut begin: impl FnMut() -> F)
where
    F: Future<Output = ()> + 'static,
{
    loop {
        // Dropped with this future, and its task with it.
        let mut running = JoinSet::new();
        running.spawn_local(begin());
        match running.join_next().await {
            Some(Err(error)) if error.is_panic() => {
                say(task, about);
                tokio::time::sleep(REST).await;
            }
            _ => return,
        }
    }
}

/// Runs what `work` makes on this task until it ends by itself; after a panic it is begun anew with what it works on,
/// and that is said. For what holds a socket, which cannot be made twice.
///
/// # Cancel safety
/// Dropping the future ends the work.
pub(super) async fn begun_again<T>(task: &'static str, about: &str, mut work: impl AsyncFnMut() -> T) -> T {
    loop {
        let done = {
            let mut work = pin!(work());
            poll_fn(|cx| {
                // What it worked on is as it was when it stopped: each step leaves a socket or a queue whole.
                let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
                match polled {
                    Ok(polled) => polled.map(Some),
                    Err(_) => Poll::Ready(None),
                }
            })
            .await
        };
        match done {
            Some(done) => return done,
            None => {
                say(task, about);
                until(later(now(), REST)).await;
            }
        }
    }
}

fn say(task: &'static str, about: &str) {
    let (cause, remedy) =
        ("a mistake in truepeer", "none is needed; please report the panic that the log shows before");
    tracing::error!(event = "task_restarted", task, about, cause, remedy);
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn what_panics_is_begun_again_and_what_ends_is_not() {
        let begun = Rc::new(Cell::new(0));
        let count = Rc::clone(&begun);
        let begin = move || {
            let count = Rc::clone(&count);
            async move {
                count.set(count.get() + 1);
                assert!(count.get() >= 3, "a mistake");
            }
        };
        LocalSet::new().run_until(supervised("keeper", "b", begin)).await;
        assert_eq!(begun.get(), 3);
    }

    #[tokio::test]
    async fn what_holds_a_socket_goes_on_with_it_after_a_panic() {
        let (listener, mut begun) = (tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(), 0);
        let address = listener.local_addr().unwrap();
        let work = begun_again("post", "smtp", async || {
            begun += 1;
            let accepted = listener.accept().await.unwrap();
            assert!(begun >= 3, "a mistake");
            accepted.1
        });
        let clients = async {
            let mut clients = Vec::new();
            for _ in 0..3 {
                clients.push(tokio::net::TcpStream::connect(address).await.unwrap());
            }
            clients
        };
        let (last, clients) = tokio::join!(work, clients);
        assert_eq!(last, clients[2].local_addr().unwrap());
        assert_eq!(begun, 3);
    }

    #[tokio::test]
    async fn dropping_it_ends_the_task() {
        let held = Rc::new(());
        let inside = Rc::clone(&held);
        let local = LocalSet::new();
        local
            .run_until(async {
                let begin = move || {
                    let inside = Rc::clone(&inside);
                    async move {
                        std::future::pending::<()>().await;
                        drop(inside);
                    }
                };
                tokio::select! {
                    biased;
                    () = supervised("keeper", "b", begin) => panic!("it never ends by itself"),
                    () = tokio::task::yield_now() => {}
                }
            })
            .await;
        drop(local);
        assert_eq!(Rc::strong_count(&held), 1);
    }
}
