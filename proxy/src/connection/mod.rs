//! One client connection: frames in, through the chain, to one broker, and back.
pub mod read;
