//! `kafka`: a broker for work by hand. Prints its description as JSON, and ends it when standard input closes.

use std::io::{self, Read};

use barnabas_tests::broker::Broker;

fn main() {
    let broker = Broker::start(&[]);
    println!("{}", serde_json::to_string(broker.site()).expect("a site has a JSON form"));
    eprintln!("Apache Kafka answers at {}; it ends when standard input closes", broker.address());
    let _ = io::stdin().read_to_end(&mut Vec::new());
}
