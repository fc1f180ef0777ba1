//! Avro: JSON text to binary and back, led by a schema (Apache Avro specification 1.12).
//!
//! The JSON is Avro's own encoding, as the registry's other clients write it: a union's value is `{"branch": value}` or
//! null, bytes are characters of the first 256, logical types are their underlying types. Neither direction makes a
//! tree. What must never happen here: an allocation or a walk that a count in a record decides.

mod schema;
mod write;
mod read;

pub use schema::AvroSchema;

#[cfg(test)]
mod tests;
