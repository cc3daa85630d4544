//! Routes: where messages come from, where they go, and how they are changed on the way.
