//! What the layer costs a request that names no client: nothing, counted allocation by allocation.
#![cfg(feature = "tower")]
#![allow(
    unsafe_code,
    clippy::unwrap_used,
    reason = "an allocator that counts is unsafe by its trait; a test fails by panicking"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::{Request, header};
use tower_layer::Layer;
use tower_service::Service;
use truepeer::ClientLayer;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get().wrapping_add(1)));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Clone)]
struct Done;

impl Service<Request<()>> for Done {
    type Response = usize;
    type Error = Infallible;
    type Future = Ready<Result<usize, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        ready(Ok(request.headers().len()))
    }
}

#[test]
fn a_request_that_names_no_client_costs_no_allocation() {
    let mut service = ClientLayer::new().layer(Done);
    let mut request = Request::new(());
    for name in [header::HOST, header::USER_AGENT, header::ACCEPT, header::COOKIE] {
        request.headers_mut().append(name, "x".parse().unwrap());
    }
    request.headers_mut().append("x_request_id", "x".parse().unwrap());
    let before = ALLOCATIONS.get();
    let answer = service.call(request).into_inner();
    assert_eq!(ALLOCATIONS.get().wrapping_sub(before), 0);
    assert_eq!(answer, Ok(5));
}
