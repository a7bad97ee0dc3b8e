-- Schema `analytics`: the views that analysts read. Every statement ends with a semicolon at the end of a line.
-- Views show the catalog as it is now. Materialised views show it as of the last `cogenre catalog refresh`,
-- which refreshes them in the order of this file, all from one snapshot.
--
-- A track is classified if a model's result is shown for it, and labelled if that result has at least one genre.

-- Labels ---------------------------------------------------------------------------------------------------

create or replace view analytics.track_label as
select t.id as track_id, t.title, t.artist, t.album, t.isrc, t.language,
       l.genre, g.name as genre_name, l.score,
       m.name as model, m.version as model_version, c.lyrics, c.classified_at,
       t.registered_at, c.track_seconds, l.classification_id,
       (select sum(case when f.is_correct then 1 else -1 end)
        from public.feedback f where f.track_id = t.id and f.genre_id = l.genre_id) as feedback
from public.track_genre l
join public.genre g on g.id = l.genre_id
join public.classification c on c.id = l.classification_id
join public.track t on t.id = c.track_id
join public.model m on m.id = c.model_id
where l.current;
comment on view analytics.track_label is 'One row per track and accepted genre, from the model whose labels are shown.';
comment on column analytics.track_label.track_id is 'The platform''s id of the track.';
comment on column analytics.track_label.title is 'From the job; null = not given.';
comment on column analytics.track_label.artist is 'From the job; null = not given.';
comment on column analytics.track_label.album is 'From the job; null = not given.';
comment on column analytics.track_label.isrc is 'International Standard Recording Code; null = not given.';
comment on column analytics.track_label.language is 'BCP 47 tag of the lyrics'' language; null = unknown.';
comment on column analytics.track_label.genre is 'Slug of the genre, such as hip-hop.';
comment on column analytics.track_label.genre_name is 'Display name, such as Hip-Hop.';
comment on column analytics.track_label.score is 'Score of the genre, 0 to 1.';
comment on column analytics.track_label.model is 'Name of the model.';
comment on column analytics.track_label.model_version is 'Version of the model.';
comment on column analytics.track_label.lyrics is
    'used, or the reason why not: absent (none delivered), instrumental, too_short (too few words), unsupported_language (a language '
    'that the model does not support).';
comment on column analytics.track_label.classified_at is 'When the label was committed.';
comment on column analytics.track_label.registered_at is 'When the track was registered: its ingest.';
comment on column analytics.track_label.track_seconds is 'Duration of the track, in seconds.';
comment on column analytics.track_label.classification_id is 'The same for all labels of a track: join on it.';
comment on column analytics.track_label.feedback is
    'Number of people who rated the label correct, minus the number who rated it wrong; null = no feedback.';

create or replace view analytics.label as
select genre, score, classification_id from public.track_genre where current;
comment on view analytics.label is
    'The labels of track_label without the columns of the track: to filter many tracks by joining on classification_id.';
comment on column analytics.label.genre is 'Slug of the genre, such as hip-hop.';
comment on column analytics.label.score is 'Score of the genre, 0 to 1.';
comment on column analytics.label.classification_id is 'One per track; also in track_label and track.';

create or replace view analytics.track as
select t.id as track_id, t.title, t.artist, t.album, t.isrc, t.language, t.registered_at,
       array(select l.genre from public.track_genre l
             where l.classification_id = cur.classification_id order by l.score desc, l.genre) as genres,
       array(select l.score from public.track_genre l
             where l.classification_id = cur.classification_id order by l.score desc, l.genre) as scores,
       cur.classification_id
from public.track t
left join public.track_current cur on cur.track_id = t.id;
comment on view analytics.track is 'One row per track, with all its genres.';
comment on column analytics.track.track_id is 'The platform''s id of the track.';
comment on column analytics.track.title is 'From the job; null = not given.';
comment on column analytics.track.artist is 'From the job; null = not given.';
comment on column analytics.track.album is 'From the job; null = not given.';
comment on column analytics.track.isrc is 'International Standard Recording Code; null = not given.';
comment on column analytics.track.language is 'BCP 47 tag of the lyrics'' language; null = unknown.';
comment on column analytics.track.registered_at is 'When the track was registered: its ingest.';
comment on column analytics.track.genres is 'Accepted genres, highest score first; empty = none.';
comment on column analytics.track.scores is 'Scores of genres, in the same order.';
comment on column analytics.track.classification_id is 'Key of the result that is shown; null = not classified yet.';

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
    'Tracks per genre and week of ingest; a week without the genre has no row. Materialised.';
comment on column analytics.genre_week.week is 'Monday of the week, UTC.';
comment on column analytics.genre_week.genre is 'Slug of the genre, such as hip-hop.';
comment on column analytics.genre_week.tracks is 'Tracks ingested in the week that have the genre.';
comment on column analytics.genre_week.share is
    'tracks, as a share of the week''s classified tracks, including those without a genre, 0 to 1.';
comment on column analytics.genre_week.mean_score is 'Mean score of these labels, 0 to 1.';

create or replace view analytics.genre as
select g.slug as genre, g.name, parent.slug as parent,
       coalesce(sum(w.tracks), 0)::bigint as tracks, sum(w.tracks * w.mean_score) / sum(w.tracks) as mean_score
from public.genre g
left join public.genre parent on parent.id = g.parent_id
left join analytics.genre_week w on w.genre = g.slug
group by g.slug, g.name, parent.slug;
comment on view analytics.genre is 'Tracks per genre, as of the last refresh.';
comment on column analytics.genre.genre is 'Slug of the genre, such as hip-hop.';
comment on column analytics.genre.name is 'Display name, such as Hip-Hop.';
comment on column analytics.genre.parent is
    'Slug of the parent genre; null = none. A track that has this genre also has its parent.';
comment on column analytics.genre.tracks is 'Tracks that have the genre.';
comment on column analytics.genre.mean_score is 'Mean score of these labels, 0 to 1.';

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
    'Co-occurrence of genres on classified tracks, one row per ordered pair. Materialised.';
comment on column analytics.genre_cooccurrence.genre_a is 'Slug of the first genre.';
comment on column analytics.genre_cooccurrence.genre_b is
    'Slug of the second genre; every pair is listed in both orders.';
comment on column analytics.genre_cooccurrence.n is 'Tracks that have both genres.';
comment on column analytics.genre_cooccurrence.n_a is 'Tracks that have genre_a.';
comment on column analytics.genre_cooccurrence.n_b is 'Tracks that have genre_b.';
comment on column analytics.genre_cooccurrence.support is
    'n, as a share of all classified tracks, including those without a genre, 0 to 1.';
comment on column analytics.genre_cooccurrence.b_given_a is
    'Share of the tracks with genre_a that also have genre_b, 0 to 1.';
comment on column analytics.genre_cooccurrence.a_given_b is
    'Share of the tracks with genre_b that also have genre_a, 0 to 1.';
comment on column analytics.genre_cooccurrence.lift is
    'Observed over expected co-occurrence if the genres were independent: 1 = independent.';
comment on column analytics.genre_cooccurrence.phi is
    'Phi coefficient (Pearson correlation of the two labels), -1 to 1; null if a genre is on every track.';

create or replace view analytics.genre_correlation as
select m.name as model, m.version as model_version, m.status, a.slug as genre_a, b.slug as genre_b, k.weight
from public.genre_correlation k
join public.model m on m.id = k.model_id
join public.genre a on a.id = k.genre_a
join public.genre b on b.id = k.genre_b;
comment on view analytics.genre_correlation is
    'Learned correlation of genres, by model: the off-diagonal elements of A in the genre graph.';
comment on column analytics.genre_correlation.model is 'Name of the model.';
comment on column analytics.genre_correlation.model_version is 'Version of the model.';
comment on column analytics.genre_correlation.status is 'shadow, current or retired.';
comment on column analytics.genre_correlation.genre_a is 'Slug of the given genre i of A[i, j].';
comment on column analytics.genre_correlation.genre_b is 'Slug of the predicted genre j of A[i, j].';
comment on column analytics.genre_correlation.weight is
    'A[i, j], -0.5 to 1: the mean of P(b given a) in the training set and the similarity of the names. Not a '
    'probability.';

create or replace view analytics.learned_and_observed as
select o.genre_a, o.genre_b, k.weight as learned_correlation, o.n, o.b_given_a, o.lift, o.phi,
       case when k.weight is not null then
           rank() over (partition by o.genre_a, k.weight is null order by k.weight desc)
           + (count(*) over (partition by o.genre_a, k.weight is null, k.weight) - 1) / 2.0::float8
       end as learned_rank,
       case when k.weight is not null then
           rank() over (partition by o.genre_a, k.weight is null order by o.b_given_a desc)
           + (count(*) over (partition by o.genre_a, k.weight is null, o.b_given_a) - 1) / 2.0::float8
       end as observed_rank
from analytics.genre_cooccurrence o
left join analytics.genre_correlation k
       on k.genre_a = o.genre_a and k.genre_b = o.genre_b and k.status = 'current';
comment on view analytics.learned_and_observed is
    'The current model''s learned correlation of two genres, and their co-occurrence in the catalog. Compare the '
    'ranks.';
comment on column analytics.learned_and_observed.genre_a is 'Slug of the first genre.';
comment on column analytics.learned_and_observed.genre_b is 'Slug of the second genre.';
comment on column analytics.learned_and_observed.learned_correlation is
    'A[i, j] of the genre graph, i = genre_a, j = genre_b: the mean of P(b given a) in the training set and the '
    'similarity of the names. Not a probability. Null = the model does not have both genres.';
comment on column analytics.learned_and_observed.n is 'Tracks that have both genres.';
comment on column analytics.learned_and_observed.b_given_a is
    'Share of the tracks with genre_a that also have genre_b.';
comment on column analytics.learned_and_observed.lift is
    'Observed over expected co-occurrence if the genres were independent.';
comment on column analytics.learned_and_observed.phi is 'Phi coefficient of the two labels, -1 to 1.';
comment on column analytics.learned_and_observed.learned_rank is
    'Rank of genre_b by learned_correlation among the genres that the model has, 1 = highest; ties share their '
    'mean rank.';
comment on column analytics.learned_and_observed.observed_rank is
    'Rank of genre_b by b_given_a among the same genres.';

-- Coverage and failures ------------------------------------------------------------------------------

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
comment on materialized view analytics.unlabelled is
    'Registered tracks for which no label is shown, with the reason. Materialised.';
comment on column analytics.unlabelled.track_id is 'The platform''s id of the track.';
comment on column analytics.unlabelled.title is 'From the job; null = not given.';
comment on column analytics.unlabelled.artist is 'From the job; null = not given.';
comment on column analytics.unlabelled.registered_at is 'When the track was registered: its ingest.';
comment on column analytics.unlabelled.reason is
    'no genre = no score reached its threshold; failed = see error_class; not shown = classified only by a shadow or '
    'retired model; waiting = not classified yet.';
comment on column analytics.unlabelled.stage is 'Stage that failed; null unless reason = failed.';
comment on column analytics.unlabelled.error_class is 'Name of the error; null unless reason = failed.';
comment on column analytics.unlabelled.detail is 'Message of the error, one line; null unless reason = failed.';

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
    'Tracks with and without labels, per week of ingest. Materialised.';
comment on column analytics.coverage_week.week is 'Monday of the week, UTC.';
comment on column analytics.coverage_week.registered is 'Tracks ingested in the week.';
comment on column analytics.coverage_week.labelled is 'Registered tracks with at least one genre.';
comment on column analytics.coverage_week.no_genre is
    'Registered tracks that are classified, but no score reached its threshold.';
comment on column analytics.coverage_week.failed is 'Registered tracks that failed, with a failure that is still open.';
comment on column analytics.coverage_week.not_shown is 'Registered tracks that only a shadow or retired model has classified.';
comment on column analytics.coverage_week.waiting is 'Registered tracks that are not classified yet.';

create or replace view analytics.coverage as
select coalesce(sum(registered), 0)::bigint as registered, coalesce(sum(labelled), 0)::bigint as labelled,
       sum(labelled)::float8 / nullif(sum(registered), 0) as share,
       coalesce(sum(no_genre), 0)::bigint as no_genre, coalesce(sum(failed), 0)::bigint as failed,
       coalesce(sum(not_shown), 0)::bigint as not_shown, coalesce(sum(waiting), 0)::bigint as waiting
from analytics.coverage_week;
comment on view analytics.coverage is 'Tracks with and without labels, in one row, as of the last refresh.';
comment on column analytics.coverage.registered is 'Registered tracks.';
comment on column analytics.coverage.labelled is 'Registered tracks with at least one genre.';
comment on column analytics.coverage.share is 'labelled / registered, 0 to 1; null = no tracks.';
comment on column analytics.coverage.no_genre is 'Registered tracks that are classified, but no score reached its threshold.';
comment on column analytics.coverage.failed is 'Registered tracks that failed, with a failure that is still open.';
comment on column analytics.coverage.not_shown is 'Registered tracks that only a shadow or retired model has classified.';
comment on column analytics.coverage.waiting is 'Registered tracks that are not classified yet.';

create or replace view analytics.failure as
select f.id, f.track_id, f.stage, f.error_class, f.reason, f.failed_at
from public.ingest_failure f
where f.resolved_at is null;
comment on view analytics.failure is 'Jobs that failed, until a later job of the track is committed.';
comment on column analytics.failure.id is 'Key of the failure.';
comment on column analytics.failure.track_id is 'The platform''s id of the track; null = the message has none.';
comment on column analytics.failure.stage is
    'Stage that failed: validate, fetch, decode, tokenise, infer, commit or reconcile.';
comment on column analytics.failure.error_class is 'Name of the error, such as CorruptAudio.';
comment on column analytics.failure.reason is 'Message of the error, one line.';
comment on column analytics.failure.failed_at is 'When the job failed.';

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
comment on materialized view analytics.model_coverage is
    'Number of tracks that each model has classified. Materialised.';
comment on column analytics.model_coverage.model_id is 'Key of the model.';
comment on column analytics.model_coverage.tracks is 'Tracks that the model has classified.';
comment on column analytics.model_coverage.shown_tracks is
    'Those of the tracks for which a result of the same or of older audio and lyrics is shown, by any model.';

create or replace view analytics.compared_track as
-- Results of the same input hash; or of the same job, if the input hash has changed with the pipeline''s version.
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
    'Tracks that the current model and another one classified from the same input: each shadow, and the previous '
    'current model. Slow: label_change and model_comparison are materialised from it.';
comment on column analytics.compared_track.from_model_id is 'Key of the model with the lower rank.';
comment on column analytics.compared_track.to_model_id is 'Key of the model with the higher rank.';
comment on column analytics.compared_track.track_id is 'The platform''s id of the track.';
comment on column analytics.compared_track.from_classification_id is
    'Key of the result of the model with the lower rank.';
comment on column analytics.compared_track.to_classification_id is
    'Key of the result of the model with the higher rank.';

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
    'Labels on which the current model differs from each shadow, and from the previous current model. Materialised.';
comment on column analytics.label_change.from_model is 'name:version of the model with the lower rank.';
comment on column analytics.label_change.to_model is 'name:version of the model with the higher rank.';
comment on column analytics.label_change.genre is 'Slug of the genre, such as hip-hop.';
comment on column analytics.label_change.change is
    'gained = only to_model accepts the genre; lost = only from_model does.';
comment on column analytics.label_change.score is 'Score by the model that accepts the genre, 0 to 1.';
comment on column analytics.label_change.track_id is 'The platform''s id of the track.';

create materialized view analytics.model_comparison as
with labelled as (
    select from_model_id, to_model_id, genre_id, count(*) as labels
    from analytics.compared_track
    join public.track_genre on classification_id = from_classification_id
    group by from_model_id, to_model_id, genre_id
), before as (
    select a.name || ':' || a.version as from_model, b.name || ':' || b.version as to_model, g.slug as genre, labels
    from labelled
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
    'Labels of two models on the tracks that both have classified, per genre. Materialised.';
comment on column analytics.model_comparison.from_model is 'name:version of the model with the lower rank.';
comment on column analytics.model_comparison.to_model is 'name:version of the model with the higher rank.';
comment on column analytics.model_comparison.genre is 'Slug of the genre, such as hip-hop.';
comment on column analytics.model_comparison.kept is 'Tracks for which both models accept the genre.';
comment on column analytics.model_comparison.gained is 'Tracks for which only to_model accepts it.';
comment on column analytics.model_comparison.lost is 'Tracks for which only from_model accepts it.';

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
comment on view analytics.model is 'All models, with counts as of the last refresh.';
comment on column analytics.model.model is 'name:version.';
comment on column analytics.model.status is
    'shadow = classifies, labels not shown; current = labels shown; retired = no longer used.';
comment on column analytics.model.rank is
    'The current model has the highest rank, except for shadows registered after its promotion.';
comment on column analytics.model.registered_at is 'When the model was registered.';
comment on column analytics.model.tracks is 'Tracks that the model has classified.';
comment on column analytics.model.coverage is
    'Share of all classified tracks whose shown input the model has classified, 0 to 1. `cogenre models promote` '
    'requires a minimum.';
comment on column analytics.model.agreement is
    'Agreement with the current model on the tracks that both classified: common labels / all labels, 0 to 1.';

create or replace view analytics.throughput_hour as
select date_bin('01:00:00'::interval, c.classified_at, '2000-01-01 00:00:00+00'::timestamptz) as hour,
       m.name || ':' || m.version as model, count(*) as tracks,
       sum(c.analysed_seconds) / 3600 as analysed_hours,
       avg((c.timings ->> 'wait')::float8) / 1000 as mean_wait_seconds
from public.classification c join public.model m on m.id = c.model_id
group by hour, m.name, m.version;
comment on view analytics.throughput_hour is 'Tracks classified per hour and model.';
comment on column analytics.throughput_hour.hour is 'Start of the hour.';
comment on column analytics.throughput_hour.model is 'name:version.';
comment on column analytics.throughput_hour.tracks is 'Tracks classified in the hour.';
comment on column analytics.throughput_hour.analysed_hours is 'Hours of audio that the model analysed.';
comment on column analytics.throughput_hour.mean_wait_seconds is
    'Mean time from the last publication of the job until its labels were ready to commit; null = not known.';

-- Feedback -------------------------------------------------------------------------------------------------

create or replace view analytics.feedback as
select f.track_id, g.slug as genre, f.is_correct, f.given_by, f.given_at,
       c.scores[array_position(m.genre_ids, f.genre_id)] as score,
       l.classification_id is not null as labelled,
       m.name || ':' || m.version as model
from public.feedback f
join public.genre g on g.id = f.genre_id
left join public.track_current cur on cur.track_id = f.track_id
left join public.classification c on c.id = cur.classification_id
left join public.model m on m.id = c.model_id
left join public.track_genre l on l.classification_id = cur.classification_id and l.genre_id = f.genre_id;
comment on view analytics.feedback is
    'Feedback of people on a genre of a track, with the score of the model that is shown.';
comment on column analytics.feedback.track_id is 'The platform''s id of the track.';
comment on column analytics.feedback.genre is 'Slug of the genre, such as hip-hop.';
comment on column analytics.feedback.is_correct is 'Whether the person says that the track has the genre.';
comment on column analytics.feedback.given_by is 'Who gave the feedback.';
comment on column analytics.feedback.given_at is 'When the feedback was given.';
comment on column analytics.feedback.score is
    'Score of the genre by the model, 0 to 1; null = the track is not classified, or the model does not have the genre.';
comment on column analytics.feedback.labelled is 'Whether the model accepts the genre for the track.';
comment on column analytics.feedback.model is 'name:version of the model whose labels are shown.';

create or replace view analytics.calibration as
select model, least(floor(score * 10), 9) / 10 as score_from, count(*) as votes,
       avg(score) as mean_score, avg(is_correct::int)::float8 as share_correct
from analytics.feedback
where score is not null
group by model, least(floor(score * 10), 9) / 10;
comment on view analytics.calibration is
    'Share of feedback that is correct, per bin of the model''s score. A calibrated model: share_correct = '
    'mean_score.';
comment on column analytics.calibration.model is 'name:version of the model whose labels are shown.';
comment on column analytics.calibration.score_from is 'Lower bound of the bin of scores; each bin is 0.1 wide.';
comment on column analytics.calibration.votes is 'Number of feedback entries in the bin.';
comment on column analytics.calibration.mean_score is 'Mean score of these entries, 0 to 1.';
comment on column analytics.calibration.share_correct is 'Share of these entries with is_correct, 0 to 1.';

create materialized view analytics.refreshed as
select 1 as id, now() as at;
create unique index if not exists refreshed_key on analytics.refreshed (id);
comment on materialized view analytics.refreshed is 'Time of the last refresh of the materialised views.';
comment on column analytics.refreshed.id is 'Always 1: the view has one row.';
comment on column analytics.refreshed.at is 'Time of the snapshot of the last refresh.';

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
    'Share of each genre in the last four complete weeks of ingest and in the four weeks before, as of the last '
    'refresh.';
comment on column analytics.genre_growth.genre is
    'Slug of the genre. A genre without tracks in the eight weeks has no row.';
comment on column analytics.genre_growth.before is
    'Share of the classified tracks ingested in the four weeks before; null = there are none.';
comment on column analytics.genre_growth.lately is
    'Share of the classified tracks ingested in the last four complete weeks; null = there are none.';
comment on column analytics.genre_growth.change is 'lately - before.';
