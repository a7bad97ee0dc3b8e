"""The drum kits, instruments and voices that the recipes choose from."""

from trainer.corpus.instruments import SUSTAINED, Delivery, Drum, Timbre

ACOUSTIC_KIT = {
    "kick": Drum(hertz=62, drop=1.0, ring=0.09, noise=0.1, rattle=0.01),
    "snare": Drum(hertz=190, ring=0.05, noise=0.8, rattle=0.08, band=(1_000, 7_000)),
    "hat": Drum(noise=1, rattle=0.025, band=(6_000, 10_000)),
    "ride": Drum(noise=1, rattle=0.15, band=(4_500, 9_000)),
    "brush": Drum(noise=1, rattle=0.09, band=(1_500, 6_000)),
}
HARD_KIT = {
    "kick": Drum(hertz=75, drop=2.0, ring=0.06, noise=0.5, rattle=0.008, band=(2_000, 6_000)),
    "snare": Drum(hertz=220, ring=0.06, noise=1.0, rattle=0.12, band=(800, 9_000)),
    "hat": Drum(noise=1, rattle=0.12, band=(5_000, 10_000)),
}
MACHINE_KIT = {
    "kick": Drum(hertz=48, drop=4.0, ring=0.16, noise=0.1, rattle=0.004),
    "snare": Drum(noise=1, rattle=0.1, band=(900, 3_000)),
    "hat": Drum(noise=1, rattle=0.035, band=(7_000, 10_500)),
}
BREAK_KIT = {
    "kick": Drum(hertz=55, drop=1.5, ring=0.2, noise=0.15, rattle=0.02),
    "snare": Drum(hertz=170, ring=0.04, noise=1.2, rattle=0.13, band=(500, 5_000)),
    "hat": Drum(noise=1, rattle=0.02, band=(4_500, 8_000)),
}

FINGERED_BASS = Timbre(rolloff=1.4, dulling=1.0, attack=0.008, decay=0.5, dull_after=0.1)
SYNTH_BASS = Timbre(rolloff=1.0, dulling=1.6, attack=0.003, decay=0.4, dull_after=0.08)
SOFT_BASS = Timbre(rolloff=2.2, dulling=1.0, attack=0.02, decay=0.9, dull_after=0.2)
STEEL_STRING = Timbre(rolloff=0.9, dulling=1.3, attack=0.003, decay=0.7, dull_after=0.15)
ELECTRIC_GUITAR = Timbre(rolloff=0.8, dulling=0.5, attack=0.004, decay=1.6, dull_after=0.6)
MUTED_GUITAR = Timbre(rolloff=0.8, dulling=1.0, attack=0.002, decay=0.07, dull_after=0.04)
ORGAN = Timbre(rolloff=1.2, dulling=0.0, even=0.7, attack=0.01, decay=SUSTAINED, vibrato=12, chorus=6)
ELECTRIC_PIANO = Timbre(rolloff=1.8, dulling=1.5, even=0.4, attack=0.004, decay=0.9, dull_after=0.1)
PIANO = Timbre(rolloff=1.4, dulling=1.2, attack=0.004, decay=1.1, dull_after=0.2, chorus=3)
STRINGS = Timbre(rolloff=1.2, dulling=0.2, attack=0.12, decay=SUSTAINED, vibrato=14, chorus=9)
PAD = Timbre(rolloff=1.6, dulling=0.6, attack=0.8, decay=SUSTAINED, dull_after=2.0, chorus=12)
SAW = Timbre(rolloff=1.0, dulling=0.4, attack=0.005, decay=0.6, dull_after=0.25, chorus=14)
SQUARE = Timbre(rolloff=1.0, dulling=0.8, even=0.05, attack=0.003, decay=0.25, dull_after=0.1)
ACID = Timbre(rolloff=0.7, dulling=1.8, attack=0.002, decay=0.2, dull_after=0.05)
BRASS = Timbre(rolloff=0.9, dulling=0.3, attack=0.05, decay=SUSTAINED, vibrato=10, breath=0.1)
SAX = Timbre(rolloff=0.8, dulling=0.2, even=0.5, attack=0.04, decay=SUSTAINED, vibrato=22, breath=0.4)
FLUTE = Timbre(rolloff=2.4, dulling=0.3, attack=0.06, decay=SUSTAINED, vibrato=18, breath=0.5)
HARMONICA = Timbre(rolloff=0.6, dulling=0.1, even=0.8, attack=0.03, decay=SUSTAINED, vibrato=30, breath=0.2)
BELL = Timbre(rolloff=1.0, dulling=2.0, even=0.1, attack=0.003, decay=1.5, dull_after=0.3)

SUNG = Delivery(glide=0.0, rasp=0.1, vibrato=25, effort=1.2)
BREATHY = Delivery(glide=0.0, rasp=0.3, vibrato=12, effort=1.8)
CROONED = Delivery(glide=1.0, rasp=0.1, vibrato=40, effort=1.4)
RAPPED = Delivery(glide=4.0, rasp=0.3, vibrato=0, effort=0.9)
SHOUTED = Delivery(glide=1.5, rasp=1.2, vibrato=0, effort=0.5)
CHORAL = Delivery(glide=0.0, rasp=0.05, vibrato=45, effort=1.6)
