"""Who is who: identifiers in one way of writing, links between them, and customers that are probably one."""
