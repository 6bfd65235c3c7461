"""The routes of the API: a module for each kind of thing, with what its requests and answers are."""
