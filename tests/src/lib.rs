//! The harness of the black-box tests: a real Apache Kafka, the real gateway binary, real clients, and faults.
//!
//! A test asks for a [`broker::Broker`] or a [`cluster::Cluster`], puts a [`gateway::Gateway`] before it, lets clients speak through
//! it and looks at what the broker really stored. Nothing here knows the inside of the gateway: what is not reachable by
//! its command line, its configuration, its ports and its log is not tested here.
//!
//! Every wait is a bounded wait on a condition; nothing sleeps for a guessed time. Every process ends with the test.

// where things are and how long one waits
pub mod disk;
pub mod ports;
pub mod process;
pub mod scratch;
pub mod wait;

// what passes over the wire and lies on the disk
pub mod audit;
pub mod batch;
pub mod certs;
pub mod wire;

// a real Apache Kafka
pub mod broker;
pub mod cluster;
pub mod kafka;
pub mod node;

// real key management systems, and the cases that every adapter to one must pass
pub mod kms;

// who stands before and beside it
pub mod clients;
pub mod browser;
pub mod evil;
pub mod gateway;
pub mod issuer;
pub mod registry;
pub mod relay;
pub mod syslog;
pub mod rest;
pub mod site;
pub mod traffic;
