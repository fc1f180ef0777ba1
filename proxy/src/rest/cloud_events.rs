//! CloudEvents 1.0.2 between HTTP and Kafka, by the specification's bindings of both protocols.
