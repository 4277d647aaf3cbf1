//! The body of a gRPC response, cut where messages end. tonic makes room for a message when it has read the
//! head of it, beside what it has read of the message itself: without that beside, the buffer of a large
//! message has room for nothing else, and the next message gets another one (see [`crate::codec`]).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Frame};
use tonic::codegen::{BoxFuture, Bytes, Service, http};

/// Bytes before a message: whether it is compressed, and its length in network order.
const HEAD_BYTES: usize = 5;

/// A client whose responses are cut.
#[derive(Clone, Debug)]
pub struct Cut<S>(pub S);

/// A body whose frames of data are a message's head, or a part of one message.
#[derive(Debug)]
pub struct CutBody<B> {
    body: B,
    /// What has come and was not handed on.
    rest: Bytes,
    head: Vec<u8>,
    /// Bytes of the message that are still to be handed on.
    left: usize,
}

// === impl Cut ===

impl<S, Q, B> Service<http::Request<Q>> for Cut<S>
where
    S: Service<http::Request<Q>, Response = http::Response<B>>,
    S::Future: Send + 'static,
{
    type Response = http::Response<CutBody<B>>;
    type Error = S::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Q>) -> Self::Future {
        let response = self.0.call(request);
        Box::pin(async move { Ok(response.await?.map(CutBody::new)) })
    }
}

// === impl CutBody ===

impl<B> CutBody<B> {
    fn new(body: B) -> Self {
        Self { body, rest: Bytes::new(), head: Vec::new(), left: 0 }
    }

    /// The next part of what has come.
    fn part(&mut self) -> Bytes {
        if self.left > 0 {
            let part = self.rest.split_to(self.left.min(self.rest.len()));
            self.left -= part.len();
            return part;
        }
        let missing = HEAD_BYTES - self.head.len();
        let part = self.rest.split_to(missing.min(self.rest.len()));
        self.head.extend_from_slice(&part);
        if let [_, length @ ..] = &*self.head
            && let Ok(length) = <[u8; 4]>::try_from(length)
        {
            self.left = u32::from_be_bytes(length) as usize;
            self.head.clear();
        }
        part
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for CutBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        while self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.part()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::task::Waker;

    use super::*;

    struct Frames(VecDeque<Bytes>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
        }
    }

    /// A message of this length, with its head.
    fn message(length: usize) -> [Vec<u8>; 2] {
        let head = [&[0][..], &(length as u32).to_be_bytes()].concat();
        [head, vec![length as u8; length]]
    }

    #[test]
    fn wherever_frames_end_no_part_goes_beyond_a_head_or_a_message() {
        let messages = [message(7), message(0), message(300), message(1)];
        let whole: Vec<&[u8]> = messages.iter().flatten().map(Vec::as_slice).collect();
        let bytes = Bytes::from(whole.concat());
        for size in 1..bytes.len() + 1 {
            let frames = bytes.chunks(size).map(|chunk| bytes.slice_ref(chunk));
            let frames = frames.chain([Bytes::new()]).collect();
            let mut body = CutBody::new(Frames(frames));
            let mut expected = whole.iter().filter(|part| !part.is_empty());
            let mut left: &[u8] = &[];
            let mut context = Context::from_waker(Waker::noop());
            while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut context) {
                let Ok(part) = frame.unwrap().into_data() else { panic!("not data") };
                if left.is_empty() {
                    left = expected.next().unwrap();
                }
                left = left.strip_prefix(&*part).expect("a part of one head or message");
            }
            assert!(left.is_empty() && expected.next().is_none(), "frames of {size}");
        }
    }
}
