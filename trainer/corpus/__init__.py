"""The synthetic corpus: labelled tracks whose audio, lyrics and genre co-occurrence are generated.

It shows what a model learns from a known structure, and it needs no licence. A score on it does not predict
the score on real music.

The table shows which modality identifies a genre. Genres in one row have the same sound (one recipe);
genres in one column have the same lyrics (one theme). A genre that is the only one in its row is identified
by its sound, the only one in its column by its lyrics. Country, funk, pop and punk rock share both their
row and their column: only sound and lyrics together identify them.

| sound \\ words | nature | road | street | club | machines | heartache | darkness | protest | dreams |
|---|---|---|---|---|---|---|---|---|---|
| acoustic | folk | country | | | | | | | |
| band | | rock | | | | | | | |
| breakbeat | | | hip-hop | funk | | | | | |
| sequencer | | | | techno | | | | | |
| disco | | | | house | | | | | |
| synthesiser | | | | | electronic | pop | | | |
| combo | | | | | | jazz | | | |
| shuffle | | | | | | blues | | | |
| heavy | | | | | | | metal | punk-rock | |
| offbeat | | | | | | | | reggae | |
| orchestra | | | | | | | | | classical |
| drone | | | | | | | | | ambient |

Techno and house differ only in sound, as do jazz and blues. Folk and country differ only in lyrics, as do
metal and punk rock, and electronic and pop. Tracks with several genres take the drums of one and the chords
of another, and mix their lyrics. Without lyrics the genres of a row cannot be separated, except by a
track's other genres and the frequencies of label sets.

A corpus can have crossed tracks. There, two genres that share a sound swap their lyrics under a second
sound, and two genres that share lyrics swap their sounds under a second theme: see `crossing`.
"""
