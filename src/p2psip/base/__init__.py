"""The ground that both towers stand on: errors, identifiers, timers, effects, the date."""
