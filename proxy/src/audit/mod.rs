//! The audit log: what happened arrives, a log in which nothing can be changed or left out unnoticed leaves.
//! `log` keeps entries as bytes and proves that they are whole; it never looks into one. What an entry says is not its
//! concern. The form of everything on disk is written in `README.md` beside this file. `report` and `page` read: the one
//! offline, the other for a browser that checks for itself.

pub mod event;
pub mod log;
pub mod sink;
pub mod finding;
pub mod timeline;
pub mod report;
pub mod page;
