"""The appliance: a radiograph comes in, is kept, is analysed, is answered."""
