"""Values that every peer has, and keeps current by comparing its copy with those of its neighbours."""
