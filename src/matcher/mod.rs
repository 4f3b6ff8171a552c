//! Match: from the views of a packet to hits of signatures. (`match` is a keyword.)
