"""What windows of any toolkit share: `relay` hands on what becomes of jobs, `rows` says which a table shows."""
