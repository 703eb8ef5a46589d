"""Networks as checked packs, and the runners that execute them."""
