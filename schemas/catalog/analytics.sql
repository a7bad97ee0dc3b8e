-- What analysts see: schema `analytics`. One statement ends with a semicolon at the end of a line.
-- Views show the catalog as it is now. Materialised views show it as of the last `cogenre catalog refresh`,
-- which goes through them in the order of this file, all in one snapshot.
--
-- Classified: the track shows what a model said of it, be it no genre. Labelled: it shows a genre.

-- Labels ---------------------------------------------------------------------------------------------------

create or replace view analytics.track_label as
select t.id as track_id, t.title, t.artist, t.album, t.isrc, t.language,
       l.genre, g.name as genre_name, l.score,
       m.name as model, m.version as model_version, c.lyrics, c.classified_at,
       t.registered_at, c.track_seconds, l.classification_id,
       (select sum(case when f.is_right then 1 else -1 end)
        from public.feedback f where f.track_id = t.id and f.genre_id = l.genre_id) as feedback
from public.track_genre l
join public.genre g on g.id = l.genre_id
join public.classification c on c.id = l.classification_id
join public.track t on t.id = c.track_id
join public.model m on m.id = c.model_id
where l.current;
comment on view analytics.track_label is 'One row for each accepted genre of each track, by the current model.';
comment on column analytics.track_label.track_id is 'The platform''s own id.';
comment on column analytics.track_label.title is 'As the producer gave it; null = not given.';
comment on column analytics.track_label.artist is 'As the producer gave it; null = not given.';
comment on column analytics.track_label.album is 'As the producer gave it; null = not given.';
comment on column analytics.track_label.isrc is 'International Standard Recording Code.';
comment on column analytics.track_label.language is 'BCP 47 tag of the lyrics'' language.';
comment on column analytics.track_label.genre is 'Stable key, such as hip-hop.';
comment on column analytics.track_label.genre_name is 'Display name, such as Hip-Hop.';
comment on column analytics.track_label.score is 'Probability, 0 to 1.';
comment on column analytics.track_label.model is 'Name of the model that said it.';
comment on column analytics.track_label.model_version is 'Its version.';
comment on column analytics.track_label.lyrics is
    'used; or why not: absent (none delivered), instrumental, short (too few words), foreign (unknown language).';
comment on column analytics.track_label.classified_at is 'When the label was committed.';
comment on column analytics.track_label.registered_at is 'When the catalog first heard of the track: its ingest.';
comment on column analytics.track_label.track_seconds is 'How long the track lasts, in seconds.';
comment on column analytics.track_label.classification_id is 'Common to all labels of a track: join on it.';
comment on column analytics.track_label.feedback is
    'People who say that it is right, less those who say that it is wrong; null = nobody said.';

create or replace view analytics.label as
select genre, score, classification_id from public.track_genre where current;
comment on view analytics.label is
    'The labels of track_label alone: for filters over many tracks, joined with themselves on classification_id.';
comment on column analytics.label.genre is 'Stable key, such as hip-hop.';
comment on column analytics.label.score is 'Probability, 0 to 1.';
comment on column analytics.label.classification_id is 'One a track; track_label and track have it too.';

create or replace view analytics.track as
select t.id as track_id, t.title, t.artist, t.album, t.isrc, t.language, t.registered_at,
       array(select l.genre from public.track_genre l
             where l.classification_id = cur.classification_id order by l.score desc, l.genre) as genres,
       array(select l.score from public.track_genre l
             where l.classification_id = cur.classification_id order by l.score desc, l.genre) as scores,
       cur.classification_id
from public.track t
left join public.track_current cur on cur.track_id = t.id;
comment on view analytics.track is 'One row a track, with all its genres.';
comment on column analytics.track.track_id is 'The platform''s own id.';
comment on column analytics.track.title is 'As the producer gave it; null = not given.';
comment on column analytics.track.artist is 'As the producer gave it; null = not given.';
comment on column analytics.track.album is 'As the producer gave it; null = not given.';
comment on column analytics.track.isrc is 'International Standard Recording Code.';
comment on column analytics.track.language is 'BCP 47 tag of the lyrics'' language.';
comment on column analytics.track.registered_at is 'When the catalog first heard of the track: its ingest.';
comment on column analytics.track.genres is 'Accepted genres, the surest first; empty = none.';
comment on column analytics.track.scores is 'Their probabilities, in the same order.';
comment on column analytics.track.classification_id is 'What the labels are of; null = not labelled yet.';

-- Genres ---------------------------------------------------------------------------------------------------

create materialized view analytics.genre_week as
with shown as (
    select cur.classification_id, date_trunc('week', t.registered_at at time zone 'UTC')::date as week
    from public.track_current cur join public.track t on t.id = cur.track_id
), classified as (
    select week, count(*) as tracks from shown group by week
), counted as (
    select s.week, l.genre_id, count(*) as tracks, avg(l.score) as mean_score
    from shown s join public.track_genre l using (classification_id)
    group by s.week, l.genre_id
)
select c.week, g.slug as genre, c.tracks, c.tracks::float8 / classified.tracks as share, c.mean_score
from counted c join classified using (week) join public.genre g on g.id = c.genre_id;
create unique index if not exists genre_week_key on analytics.genre_week (genre, week);
comment on materialized view analytics.genre_week is
    'Tracks a genre by the week of their ingest; a week without the genre has no row. Refreshed.';
comment on column analytics.genre_week.week is 'Its Monday, UTC.';
comment on column analytics.genre_week.genre is 'Stable key, such as hip-hop.';
comment on column analytics.genre_week.tracks is 'Tracks ingested in the week that carry the genre.';
comment on column analytics.genre_week.share is 'Of the week''s classified tracks, those without a genre included, 0 to 1.';
comment on column analytics.genre_week.mean_score is 'Mean probability of those labels, 0 to 1.';

create or replace view analytics.genre as
select g.slug as genre, g.name, parent.slug as parent,
       coalesce(sum(w.tracks), 0)::bigint as tracks, sum(w.tracks * w.mean_score) / sum(w.tracks) as mean_score
from public.genre g
left join public.genre parent on parent.id = g.parent_id
left join analytics.genre_week w on w.genre = g.slug
group by g.slug, g.name, parent.slug;
comment on view analytics.genre is 'Tracks a genre, as of the last refresh.';
comment on column analytics.genre.genre is 'Stable key, such as hip-hop.';
comment on column analytics.genre.name is 'Display name, such as Hip-Hop.';
comment on column analytics.genre.parent is 'A track that has this genre also has its parent.';
comment on column analytics.genre.tracks is 'Tracks that carry the genre.';
comment on column analytics.genre.mean_score is 'Mean probability of those labels, 0 to 1.';

create materialized view analytics.genre_cooccurrence as
with label as (
    select classification_id, genre_id from public.track_genre where current
), total as (
    select count(*)::float8 as tracks from public.track_current
), single as (
    select genre_id, count(*)::float8 as tracks from label group by genre_id
), pair as (
    select a.genre_id as a, b.genre_id as b, count(*) as tracks
    from label a join label b using (classification_id)
    where a.genre_id < b.genre_id
    group by a.genre_id, b.genre_id
), counted as (
    select sa.genre_id as a, sb.genre_id as b, coalesce(pair.tracks, 0) as n, sa.tracks as n_a, sb.tracks as n_b,
           total.tracks as n_all
    from single sa
    join single sb on sb.genre_id <> sa.genre_id
    cross join total
    left join pair on pair.a = least(sa.genre_id, sb.genre_id) and pair.b = greatest(sa.genre_id, sb.genre_id)
)
select ga.slug as genre_a, gb.slug as genre_b, n, n_a::bigint, n_b::bigint,
       n / n_all as support,
       n / n_a as b_given_a,
       n / n_b as a_given_b,
       n * n_all / (n_a * n_b) as lift,
       (n * n_all - n_a * n_b) / nullif(sqrt(n_a * n_b * (n_all - n_a) * (n_all - n_b)), 0) as phi
from counted
join public.genre ga on ga.id = a
join public.genre gb on gb.id = b;
create unique index if not exists genre_cooccurrence_key on analytics.genre_cooccurrence (genre_a, genre_b);
comment on materialized view analytics.genre_cooccurrence is
    'How genres go together on classified tracks, a row for each ordered pair. Refreshed.';
comment on column analytics.genre_cooccurrence.genre_a is 'Stable key of the first genre.';
comment on column analytics.genre_cooccurrence.genre_b is 'Stable key of the second; every pair is there both ways.';
comment on column analytics.genre_cooccurrence.n is 'Tracks that carry both.';
comment on column analytics.genre_cooccurrence.n_a is 'Tracks that carry genre_a.';
comment on column analytics.genre_cooccurrence.n_b is 'Tracks that carry genre_b.';
comment on column analytics.genre_cooccurrence.support is
    'n, as a share of all classified tracks, those without a genre included, 0 to 1.';
comment on column analytics.genre_cooccurrence.b_given_a is 'Share of genre_a''s tracks that carry genre_b, 0 to 1.';
comment on column analytics.genre_cooccurrence.a_given_b is 'Share of genre_b''s tracks that carry genre_a, 0 to 1.';
comment on column analytics.genre_cooccurrence.lift is
    'How much more often together than if they were independent: 1 = as often.';
comment on column analytics.genre_cooccurrence.phi is
    'Correlation of the two labels, -1 to 1; null where a genre is on every track.';

create or replace view analytics.genre_correlation as
select m.name as model, m.version as model_version, m.status, a.slug as genre_a, b.slug as genre_b, k.weight
from public.genre_correlation k
join public.model m on m.id = k.model_id
join public.genre a on a.id = k.genre_a
join public.genre b on b.id = k.genre_b;
comment on view analytics.genre_correlation is 'What each model believes of genres that go together.';
comment on column analytics.genre_correlation.model is 'Name of the model.';
comment on column analytics.genre_correlation.model_version is 'Its version.';
comment on column analytics.genre_correlation.status is 'shadow, current or retired.';
comment on column analytics.genre_correlation.genre_a is 'Stable key of the genre that speaks.';
comment on column analytics.genre_correlation.genre_b is 'Stable key of the genre that is spoken for.';
comment on column analytics.genre_correlation.weight is
    'How much, -0.5 to 1: half of P(b given a) in its training set, half the likeness of the names. No probability.';

create or replace view analytics.belief_and_observation as
select o.genre_a, o.genre_b, k.weight as belief, o.n, o.b_given_a, o.lift, o.phi,
       case when k.weight is not null then
           rank() over (partition by o.genre_a, k.weight is null order by k.weight desc)
           + (count(*) over (partition by o.genre_a, k.weight is null, k.weight) - 1) / 2.0::float8
       end as belief_rank,
       case when k.weight is not null then
           rank() over (partition by o.genre_a, k.weight is null order by o.b_given_a desc)
           + (count(*) over (partition by o.genre_a, k.weight is null, o.b_given_a) - 1) / 2.0::float8
       end as observed_rank
from analytics.genre_cooccurrence o
left join analytics.genre_correlation k
       on k.genre_a = o.genre_a and k.genre_b = o.genre_b and k.status = 'current';
comment on view analytics.belief_and_observation is
    'What the current model believes of two genres beside what the catalog shows. Compare the ranks.';
comment on column analytics.belief_and_observation.genre_a is 'Stable key of the first genre.';
comment on column analytics.belief_and_observation.genre_b is 'Stable key of the second.';
comment on column analytics.belief_and_observation.belief is
    'How much genre_a speaks for genre_b in the model''s graph: half of P(b given a) in its training set, half the '
    'likeness of the names. No probability. Null = the model does not know one of the two.';
comment on column analytics.belief_and_observation.n is 'Tracks that carry both.';
comment on column analytics.belief_and_observation.b_given_a is 'Share of genre_a''s tracks that carry genre_b.';
comment on column analytics.belief_and_observation.lift is 'How much more often than if independent.';
comment on column analytics.belief_and_observation.phi is 'Correlation of the two labels, -1 to 1.';
comment on column analytics.belief_and_observation.belief_rank is
    'Place of genre_b by belief among all that the model knows beside genre_a: 1 = the strongest; ties share their mean.';
comment on column analytics.belief_and_observation.observed_rank is 'Its place among the same by b_given_a.';

-- What has no labels, and why ------------------------------------------------------------------------------

create materialized view analytics.unlabelled as
select t.id as track_id, t.title, t.artist, t.registered_at,
       case when cur.track_id is not null then 'no genre'
            when f.id is not null then 'failed'
            when exists (select from public.classification c where c.track_id = t.id) then 'not shown'
            else 'waiting' end as reason,
       f.stage, f.error_class, f.reason as detail
from public.track t
left join public.track_current cur on cur.track_id = t.id
left join (
    select distinct on (track_id) track_id, id, stage, error_class, reason
    from public.ingest_failure where resolved_at is null
    order by track_id, enqueued_at desc nulls last, id desc
) f on f.track_id = t.id
where cur.track_id is null
   or not exists (select from public.track_genre l where l.classification_id = cur.classification_id);
create unique index if not exists unlabelled_key on analytics.unlabelled (track_id);
create index if not exists unlabelled_reason_idx on analytics.unlabelled (reason, registered_at desc);
comment on materialized view analytics.unlabelled is 'Registered tracks without any shown label, and why. Refreshed.';
comment on column analytics.unlabelled.track_id is 'The platform''s own id.';
comment on column analytics.unlabelled.title is 'As the producer gave it; null = not given.';
comment on column analytics.unlabelled.artist is 'As the producer gave it; null = not given.';
comment on column analytics.unlabelled.registered_at is 'When the catalog first heard of the track: its ingest.';
comment on column analytics.unlabelled.reason is
    'no genre = none reached its threshold; failed; not shown = only by a shadow or retired model; waiting.';
comment on column analytics.unlabelled.stage is 'Of a failed one: where it ended.';
comment on column analytics.unlabelled.error_class is 'Of a failed one: the error''s name.';
comment on column analytics.unlabelled.detail is 'Of a failed one: one line for whoever has to mend it.';

create materialized view analytics.coverage_week as
with registered as (
    select date_trunc('week', registered_at at time zone 'UTC')::date as week, count(*) as tracks
    from public.track group by 1
), missing as (
    select date_trunc('week', registered_at at time zone 'UTC')::date as week, reason, count(*) as tracks
    from analytics.unlabelled group by 1, 2
)
select r.week, r.tracks as registered,
       r.tracks - coalesce(sum(m.tracks), 0)::bigint as labelled,
       coalesce(sum(m.tracks) filter (where m.reason = 'no genre'), 0)::bigint as no_genre,
       coalesce(sum(m.tracks) filter (where m.reason = 'failed'), 0)::bigint as failed,
       coalesce(sum(m.tracks) filter (where m.reason = 'not shown'), 0)::bigint as not_shown,
       coalesce(sum(m.tracks) filter (where m.reason = 'waiting'), 0)::bigint as waiting
from registered r left join missing m using (week)
group by r.week, r.tracks;
create unique index if not exists coverage_week_key on analytics.coverage_week (week);
comment on materialized view analytics.coverage_week is
    'How many tracks have labels, by the week of their ingest. Refreshed.';
comment on column analytics.coverage_week.week is 'Its Monday, UTC.';
comment on column analytics.coverage_week.registered is 'Tracks ingested in the week.';
comment on column analytics.coverage_week.labelled is 'Of these, tracks with a genre.';
comment on column analytics.coverage_week.no_genre is 'Classified, and no genre reached its threshold.';
comment on column analytics.coverage_week.failed is 'Ended as a failure that is still open.';
comment on column analytics.coverage_week.not_shown is 'Classified by a shadow or retired model only.';
comment on column analytics.coverage_week.waiting is 'Not classified yet.';

create or replace view analytics.coverage as
select coalesce(sum(registered), 0)::bigint as registered, coalesce(sum(labelled), 0)::bigint as labelled,
       sum(labelled)::float8 / nullif(sum(registered), 0) as share,
       coalesce(sum(no_genre), 0)::bigint as no_genre, coalesce(sum(failed), 0)::bigint as failed,
       coalesce(sum(not_shown), 0)::bigint as not_shown, coalesce(sum(waiting), 0)::bigint as waiting
from analytics.coverage_week;
comment on view analytics.coverage is 'How many tracks have labels, in one row, as of the last refresh.';
comment on column analytics.coverage.registered is 'Tracks that the catalog knows.';
comment on column analytics.coverage.labelled is 'Of these, tracks with a genre.';
comment on column analytics.coverage.share is 'labelled of registered, 0 to 1; null = no tracks.';
comment on column analytics.coverage.no_genre is 'Classified, and no genre reached its threshold.';
comment on column analytics.coverage.failed is 'Ended as a failure that is still open.';
comment on column analytics.coverage.not_shown is 'Classified by a shadow or retired model only.';
comment on column analytics.coverage.waiting is 'Not classified yet.';

create or replace view analytics.failure as
select f.id, f.track_id, f.stage, f.error_class, f.reason, f.failed_at
from public.ingest_failure f
where f.resolved_at is null;
comment on view analytics.failure is 'Jobs that ended without labels and have not been mended.';
comment on column analytics.failure.id is 'The catalog''s own key.';
comment on column analytics.failure.track_id is 'Null where the job does not even say.';
comment on column analytics.failure.stage is 'Where it ended: validate, fetch, decode, tokenise, infer or commit.';
comment on column analytics.failure.error_class is 'The error''s name, such as CorruptAudio.';
comment on column analytics.failure.reason is 'One line for whoever has to mend it.';
comment on column analytics.failure.failed_at is 'When the job ended.';

-- Models ---------------------------------------------------------------------------------------------------

create materialized view analytics.model_coverage as
select c.model_id, count(distinct c.track_id) as tracks,
       count(distinct c.track_id) filter (
           where c.input_hash = shown.input_hash or c.enqueued_at >= cur.enqueued_at
       ) as shown_tracks
from public.classification c
left join public.track_current cur on cur.track_id = c.track_id
left join public.classification shown on shown.id = cur.classification_id
group by c.model_id;
create unique index if not exists model_coverage_key on analytics.model_coverage (model_id);
comment on materialized view analytics.model_coverage is 'Tracks that each model has classified. Refreshed.';
comment on column analytics.model_coverage.model_id is 'The catalog''s own key of the model.';
comment on column analytics.model_coverage.tracks is 'Tracks that it has classified.';
comment on column analytics.model_coverage.shown_tracks is
    'Of these, tracks that show what some model said of the same audio and lyrics, or of older ones.';

create or replace view analytics.compared_track as
-- Of the same input; or of the same job, where the way from files to inputs has changed in between.
with current as (
    select id, rank from public.model where status = 'current'
), other as (
    select m.id, m.rank > current.rank as newer
    from public.model m cross join current
    where m.status = 'shadow'
       or m.id = (select id from public.model where status = 'retired' and promoted_at is not null
                  order by promoted_at desc limit 1)
), mine as (
    select c.id, c.track_id, c.model_id, c.input_hash, c.enqueued_at
    from public.track_current cur join public.classification c on c.id = cur.classification_id
    where c.model_id = (select id from current)
), theirs as (
    select distinct on (c.model_id, c.track_id) c.id, c.track_id, c.model_id
    from public.classification c join mine using (track_id)
    where c.model_id in (select id from other)
      and (c.input_hash = mine.input_hash or c.enqueued_at = mine.enqueued_at)
    order by c.model_id, c.track_id, c.input_hash = mine.input_hash desc, c.id desc
)
select case when other.newer then mine.model_id else theirs.model_id end as from_model_id,
       case when other.newer then theirs.model_id else mine.model_id end as to_model_id,
       mine.track_id,
       case when other.newer then mine.id else theirs.id end as from_classification_id,
       case when other.newer then theirs.id else mine.id end as to_classification_id
from theirs
join other on other.id = theirs.model_id
join mine on mine.track_id = theirs.track_id;
comment on view analytics.compared_track is
    'Inputs that both the current model and another have classified: each shadow, and the one before. Slow.';
comment on column analytics.compared_track.from_model_id is 'Key of the model of the lower rank.';
comment on column analytics.compared_track.to_model_id is 'Key of the model of the higher rank.';
comment on column analytics.compared_track.track_id is 'The platform''s own id.';
comment on column analytics.compared_track.from_classification_id is 'What the first model said of it.';
comment on column analytics.compared_track.to_classification_id is 'What the second model said of it.';

create materialized view analytics.label_change as
with changed as (
    select c.*, l.genre, 'lost' as change, l.score
    from analytics.compared_track c
    join public.track_genre l on l.classification_id = c.from_classification_id
    where not exists (
        select from public.track_genre k
        where k.classification_id = c.to_classification_id and k.genre_id = l.genre_id
    )
    union all
    select c.*, l.genre, 'gained', l.score
    from analytics.compared_track c
    join public.track_genre l on l.classification_id = c.to_classification_id
    where not exists (
        select from public.track_genre k
        where k.classification_id = c.from_classification_id and k.genre_id = l.genre_id
    )
)
select a.name || ':' || a.version as from_model, b.name || ':' || b.version as to_model,
       c.genre, c.change, c.score, c.track_id
from changed c
join public.model a on a.id = c.from_model_id
join public.model b on b.id = c.to_model_id;
create unique index if not exists label_change_key
    on analytics.label_change (from_model, to_model, track_id, genre);
create index if not exists label_change_genre_idx
    on analytics.label_change (from_model, to_model, genre, change, score desc);
comment on materialized view analytics.label_change is
    'Labels on which the current model differs from each shadow, and from the one before it. Refreshed.';
comment on column analytics.label_change.from_model is 'name:version of the lower rank.';
comment on column analytics.label_change.to_model is 'name:version of the higher rank.';
comment on column analytics.label_change.genre is 'Stable key, such as hip-hop.';
comment on column analytics.label_change.change is 'gained = only to_model says it; lost = only from_model does.';
comment on column analytics.label_change.score is 'Probability by the model that says it, 0 to 1.';
comment on column analytics.label_change.track_id is 'The platform''s own id.';

create materialized view analytics.model_comparison as
with said as (
    select from_model_id, to_model_id, genre_id, count(*) as labels
    from analytics.compared_track
    join public.track_genre on classification_id = from_classification_id
    group by from_model_id, to_model_id, genre_id
), before as (
    select a.name || ':' || a.version as from_model, b.name || ':' || b.version as to_model, g.slug as genre, labels
    from said
    join public.model a on a.id = from_model_id
    join public.model b on b.id = to_model_id
    join public.genre g on g.id = genre_id
), changed as (
    select from_model, to_model, genre,
           count(*) filter (where change = 'gained') as gained, count(*) filter (where change = 'lost') as lost
    from analytics.label_change group by from_model, to_model, genre
)
select from_model, to_model, genre,
       coalesce(before.labels, 0) - coalesce(changed.lost, 0) as kept,
       coalesce(changed.gained, 0) as gained, coalesce(changed.lost, 0) as lost
from before full join changed using (from_model, to_model, genre);
create unique index if not exists model_comparison_key
    on analytics.model_comparison (from_model, to_model, genre);
comment on materialized view analytics.model_comparison is
    'Two models on the tracks that both have classified, genre by genre. Refreshed.';
comment on column analytics.model_comparison.from_model is 'name:version of the lower rank.';
comment on column analytics.model_comparison.to_model is 'name:version of the higher rank.';
comment on column analytics.model_comparison.genre is 'Stable key, such as hip-hop.';
comment on column analytics.model_comparison.kept is 'Tracks to which both give the genre.';
comment on column analytics.model_comparison.gained is 'Tracks to which only to_model gives it.';
comment on column analytics.model_comparison.lost is 'Tracks to which only from_model gives it.';

create or replace view analytics.model as
select m.name || ':' || m.version as model, m.status, m.rank, m.registered_at,
       coalesce(seen.tracks, 0) as tracks,
       coalesce(seen.shown_tracks, 0)::float8 / nullif(cov.labelled + cov.no_genre, 0) as coverage,
       (select sum(kept)::float8 / nullif(sum(kept + gained + lost), 0)
        from analytics.model_comparison x
        where (x.from_model, x.to_model) = (m.name || ':' || m.version, shown.model)
           or (x.to_model, x.from_model) = (m.name || ':' || m.version, shown.model)) as agreement
from public.model m
left join analytics.model_coverage seen on seen.model_id = m.id
left join (select name || ':' || version as model from public.model where status = 'current') shown on true
cross join analytics.coverage cov;
comment on view analytics.model is 'The models, with counts as of the last refresh.';
comment on column analytics.model.model is 'name:version.';
comment on column analytics.model.status is 'shadow = classifies, not shown; current = shown; retired = no longer used.';
comment on column analytics.model.rank is 'The current model has the highest but for shadows that came later.';
comment on column analytics.model.registered_at is 'When the catalog first heard of the model.';
comment on column analytics.model.tracks is 'Tracks that it has classified.';
comment on column analytics.model.coverage is
    'Of all classified tracks, those of which it has classified what is shown: the coverage that promote asks for.';
comment on column analytics.model.agreement is
    'With the current model, on tracks that both classified: labels in common of all labels, 0 to 1.';

create or replace view analytics.throughput_hour as
select date_bin('01:00:00'::interval, c.classified_at, '2000-01-01 00:00:00+00'::timestamptz) as hour,
       m.name || ':' || m.version as model, count(*) as tracks,
       sum(c.heard_seconds) / 3600 as heard_hours,
       avg((c.timings ->> 'wait')::float8) / 1000 as mean_wait_seconds
from public.classification c join public.model m on m.id = c.model_id
group by hour, m.name, m.version;
comment on view analytics.throughput_hour is 'Tracks classified, hour by hour and model by model.';
comment on column analytics.throughput_hour.hour is 'Its beginning.';
comment on column analytics.throughput_hour.model is 'name:version.';
comment on column analytics.throughput_hour.tracks is 'Tracks classified in the hour.';
comment on column analytics.throughput_hour.heard_hours is 'Hours of sound that the model heard.';
comment on column analytics.throughput_hour.mean_wait_seconds is
    'From the job being published, last, until its labels were ready to commit; null = not known.';

-- Feedback -------------------------------------------------------------------------------------------------

create or replace view analytics.feedback as
select f.track_id, g.slug as genre, f.is_right, f.given_by, f.given_at,
       c.scores[array_position(m.genre_ids, f.genre_id)] as score,
       l.classification_id is not null as labelled,
       m.name || ':' || m.version as model
from public.feedback f
join public.genre g on g.id = f.genre_id
left join public.track_current cur on cur.track_id = f.track_id
left join public.classification c on c.id = cur.classification_id
left join public.model m on m.id = c.model_id
left join public.track_genre l on l.classification_id = cur.classification_id and l.genre_id = f.genre_id;
comment on view analytics.feedback is 'What people said of a genre on a track, beside what the current model says.';
comment on column analytics.feedback.track_id is 'The platform''s own id.';
comment on column analytics.feedback.genre is 'Stable key, such as hip-hop.';
comment on column analytics.feedback.is_right is 'Whether the track has the genre.';
comment on column analytics.feedback.given_by is 'Who said it.';
comment on column analytics.feedback.given_at is 'When.';
comment on column analytics.feedback.score is 'Probability by the model; null = it does not know the genre.';
comment on column analytics.feedback.labelled is 'Whether the model gives the genre to the track.';
comment on column analytics.feedback.model is 'name:version of the model shown.';

create or replace view analytics.calibration as
select model, least(floor(score * 10), 9) / 10 as score_from, count(*) as verdicts,
       avg(score) as mean_score, avg(is_right::int)::float8 as share_right
from analytics.feedback
where score is not null
group by model, least(floor(score * 10), 9) / 10;
comment on view analytics.calibration is
    'How often people found a genre right, by the model''s score. A calibrated model: share_right = mean_score.';
comment on column analytics.calibration.model is 'name:version of the model shown.';
comment on column analytics.calibration.score_from is 'Lower bound of the scores counted here; each bin is 0.1 wide.';
comment on column analytics.calibration.verdicts is 'What people said, counted.';
comment on column analytics.calibration.mean_score is 'Mean probability by the model, 0 to 1.';
comment on column analytics.calibration.share_right is 'Share of the verdicts that say right, 0 to 1.';

create materialized view analytics.refreshed as
select 1 as id, now() as at;
create unique index if not exists refreshed_key on analytics.refreshed (id);
comment on materialized view analytics.refreshed is 'When the materialised views were last refreshed.';
comment on column analytics.refreshed.id is 'Always 1: there is one row.';
comment on column analytics.refreshed.at is 'When.';

-- Growth ---------------------------------------------------------------------------------------------------

create or replace view analytics.genre_growth as
with this as (
    select date_trunc('week', at at time zone 'UTC')::date as week from analytics.refreshed
), chosen as (
    select w.week, w.labelled + w.no_genre as tracks, w.week >= this.week - 28 as is_late
    from analytics.coverage_week w cross join this
    where w.week >= this.week - 56 and w.week < this.week
), total as (
    select sum(tracks) filter (where is_late) as lately, sum(tracks) filter (where not is_late) as before
    from chosen
), counted as (
    select g.genre, sum(g.tracks) filter (where is_late) as lately, sum(g.tracks) filter (where not is_late) as before
    from analytics.genre_week g join chosen using (week)
    group by g.genre
), share as (
    select genre, coalesce(counted.lately, 0)::float8 / nullif(total.lately, 0)::float8 as lately,
           coalesce(counted.before, 0)::float8 / nullif(total.before, 0)::float8 as before
    from counted cross join total
)
select genre, before, lately, lately - before as change from share;
comment on view analytics.genre_growth is
    'Each genre in the last four whole weeks of ingest and in the four before, as of the last refresh.';
comment on column analytics.genre_growth.genre is 'Stable key, such as hip-hop. Without tracks in the eight weeks: not here.';
comment on column analytics.genre_growth.before is
    'Its share of the tracks that were ingested in the four weeks before and are classified; null = there are none.';
comment on column analytics.genre_growth.lately is 'Its share in the last four weeks; null = there are no tracks.';
comment on column analytics.genre_growth.change is 'lately less before.';
