//! Messages as tonic sends and receives them. tonic keeps the buffer of the largest message for as long as
//! the stream lives, and the first response of a large mesh has tens of megabytes.

use std::marker::PhantomData;

use prost::Message;
use prost::bytes::{Buf, Bytes};
use tonic::Status;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

/// As [`ProstCodec`], with parts of a message that are not copied, and buffers that are given back.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

/// Decodes messages in the buffer that they came in.
#[derive(Debug)]
pub struct InPlace<U> {
    /// While this is held the buffer is in use, so that tonic takes a new one for the next message; that one
    /// takes its place here then, and the old one is freed.
    last: Bytes,
    message: PhantomData<U>,
}

// === impl Codec ===

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = InPlace<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::default())
    }

    fn decoder(&mut self) -> Self::Decoder {
        InPlace { last: Bytes::new(), message: PhantomData }
    }
}

// === impl InPlace ===

impl<U: Message + Default> Decoder for InPlace<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        self.last = buffer.copy_to_bytes(buffer.remaining());
        let message = U::decode(self.last.clone());
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
