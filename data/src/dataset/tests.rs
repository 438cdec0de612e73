//! Data sets of all layouts, written into temporary folders.
