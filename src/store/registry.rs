//! The registry: trained routers, and which of them is in force.

use std::path::PathBuf;

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use crate::{
    clock,
    ids::RouterId,
    registry::{Promotion, PromotionKind, Registered},
    store::{Store, StoreError, trials},
};

/// Why a router was not put in force.
#[derive(Debug, thiserror::Error)]
pub enum PromotionError {
    /// It was never registered.
    #[error(
        "there is no router `{id}` in the registry; `coterie routers list` shows those that are"
    )]
    Unknown {
        /// Its id.
        id: RouterId,
    },
    /// It is what is in force.
    #[error(
        "router {id} is in force already; a server that could not open it takes it when it is started again"
    )]
    InForce {
        /// Its id.
        id: RouterId,
    },
    /// There is no promotion to take back.
    #[error("the router in force was not promoted: there is nothing left to roll back")]
    NothingToRollBack,
    /// Another was put in force since the caller looked.
    #[error("another router was put in force meanwhile; nothing was changed")]
    Overtaken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who puts a router in force, and why.
#[derive(Clone, Copy, Debug)]
pub struct Promoter<'p> {
    /// A person's name, or what does it by itself.
    pub by: &'p str,
    /// In words for people.
    pub why: Option<&'p str>,
    /// The number of the promotion that must still be in force (0: none must be); none: whatever is.
    pub expected: Option<i64>,
}

impl Store {
    /// Enters a trained router, whose artefact must be whole. One that is there keeps its place, and its judgement becomes
    /// the later one, unless it was ever promoted: then what it was promoted for stays.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn register(&self, router: &Registered) -> Result<(), StoreError> {
        let entered = sqlx::query(
            "INSERT INTO routers (id, folder, parent, registered_at_ms, data_sha256, judgement)
             VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET
                 folder = excluded.folder, parent = excluded.parent,
                 judgement = coalesce(excluded.judgement, judgement)
             WHERE NOT EXISTS (SELECT 1 FROM promotions WHERE router = excluded.id)",
        )
        .bind(router.id.as_str())
        .bind(router.folder.to_string_lossy().into_owned())
        .bind(router.parent.as_ref().map(RouterId::as_str))
        .bind(router.registered_at_ms)
        .bind(&router.data_sha256)
        .bind(&router.judgement)
        .execute(&self.pool)
        .await;
        entered.map(drop).map_err(|source| self.failed(source))
    }

    /// All routers of the registry, oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn routers(&self) -> Result<Vec<Registered>, StoreError> {
        sqlx::query("SELECT * FROM routers ORDER BY registered_at_ms, id")
            .try_map(registered)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }

    /// One router of the registry.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn router(&self, id: &RouterId) -> Result<Option<Registered>, StoreError> {
        sqlx::query("SELECT * FROM routers WHERE id = ?")
            .bind(id.as_str())
            .try_map(registered)
            .fetch_optional(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }

    /// All promotions, oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn promotions(&self) -> Result<Vec<Promotion>, StoreError> {
        sqlx::query("SELECT * FROM promotions ORDER BY number")
            .try_map(promotion)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }

    /// The promotion that is in force; none: there never was one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn promotion(&self) -> Result<Option<Promotion>, StoreError> {
        let read = async {
            let mut connection = self.pool.acquire().await?;
            last_promotion(&mut connection).await
        };
        read.await.map_err(|source| self.failed(source))
    }

    /// Puts a registered router in force, in one step.
    ///
    /// # Errors
    /// It is not registered, it is in force already, another was promoted meanwhile, or the file cannot be written.
    pub async fn promote(
        &self,
        id: &RouterId,
        promoter: Promoter<'_>,
    ) -> Result<Promotion, PromotionError> {
        if self.router(id).await?.is_none() {
            return Err(PromotionError::Unknown { id: id.clone() });
        }
        self.change(promoter, |current, _| {
            let in_force = current.and_then(|current| current.router.as_ref());
            if in_force == Some(id) {
                return Err(PromotionError::InForce { id: id.clone() });
            }
            Ok(Next {
                router: Some(id.clone()),
                kind: PromotionKind::Promote,
                replaces: current.map(|current| current.number),
            })
        })
        .await
    }

    /// The router that a roll-back would put in force again; none: that of the configuration, or there is nothing to go back to.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn rolls_back_to(&self) -> Result<Option<RouterId>, StoreError> {
        const BEFORE: &str = "
            SELECT before.router FROM promotions current JOIN promotions before ON before.number = current.replaces
            WHERE current.number = (SELECT max(number) FROM promotions)";
        let before: Option<Option<String>> = sqlx::query_scalar(BEFORE)
            .fetch_optional(&self.pool)
            .await
            .map_err(|source| self.failed(source))?;
        Ok(before.flatten().map(RouterId::new))
    }

    /// Puts that router in force again that was so before the present one, in one step.
    ///
    /// # Errors
    /// There is nothing to go back to, another was promoted meanwhile, or the file cannot be written.
    pub async fn roll_back(&self, promoter: Promoter<'_>) -> Result<Promotion, PromotionError> {
        self.change(promoter, |current, before| {
            let current = current.filter(|current| current.router.is_some());
            current.ok_or(PromotionError::NothingToRollBack)?;
            Ok(Next {
                router: before.and_then(|before| before.router.clone()),
                kind: PromotionKind::Rollback,
                replaces: before.and_then(|before| before.replaces),
            })
        })
        .await
    }

    /// Reads what is in force, and what was before, and adds what `next` makes of both, under one lock. Trials were of what is in force
    /// until now.
    async fn change(
        &self,
        promoter: Promoter<'_>,
        next: impl FnOnce(Option<&Promotion>, Option<&Promotion>) -> Result<Next, PromotionError>,
    ) -> Result<Promotion, PromotionError> {
        let failed = |source| PromotionError::Store(self.failed(source));
        let mut transaction = self
            .pool
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(failed)?;
        let current = last_promotion(&mut transaction).await.map_err(failed)?;
        let number = current.as_ref().map_or(0, |current| current.number);
        if promoter.expected.is_some_and(|expected| expected != number) {
            return Err(PromotionError::Overtaken);
        }
        let before = match current.as_ref().and_then(|current| current.replaces) {
            Some(number) => numbered(&mut transaction, number).await.map_err(failed)?,
            None => None,
        };
        let next = next(current.as_ref(), before.as_ref())?;
        let at_ms = clock::now_ms();
        let added = sqlx::query(
            "INSERT INTO promotions (at_ms, router, kind, replaces, promoted_by, why)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(at_ms)
        .bind(next.router.as_ref().map(RouterId::as_str))
        .bind(next.kind.as_str())
        .bind(next.replaces)
        .bind(promoter.by)
        .bind(promoter.why)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        trials::end_all(&mut transaction, next.router.as_ref(), promoter.by, at_ms)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(Promotion {
            number: added.last_insert_rowid(),
            at_ms,
            router: next.router,
            kind: next.kind,
            replaces: next.replaces,
            promoted_by: promoter.by.to_owned(),
            why: promoter.why.map(str::to_owned),
        })
    }
}

/// What is to be put in force.
struct Next {
    router: Option<RouterId>,
    kind: PromotionKind,
    replaces: Option<i64>,
}

pub(super) async fn last_promotion(
    connection: &mut SqliteConnection,
) -> sqlx::Result<Option<Promotion>> {
    sqlx::query("SELECT * FROM promotions ORDER BY number DESC LIMIT 1")
        .try_map(promotion)
        .fetch_optional(connection)
        .await
}

async fn numbered(
    connection: &mut SqliteConnection,
    number: i64,
) -> sqlx::Result<Option<Promotion>> {
    sqlx::query("SELECT * FROM promotions WHERE number = ?")
        .bind(number)
        .try_map(promotion)
        .fetch_optional(connection)
        .await
}

fn registered(row: SqliteRow) -> sqlx::Result<Registered> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let parent: Option<String> = row.try_get("parent")?;
    Ok(Registered {
        id: RouterId::new(text("id")?),
        folder: PathBuf::from(text("folder")?),
        parent: parent.map(RouterId::new),
        registered_at_ms: row.try_get("registered_at_ms")?,
        data_sha256: text("data_sha256")?,
        judgement: row.try_get("judgement")?,
    })
}

fn promotion(row: SqliteRow) -> sqlx::Result<Promotion> {
    let router: Option<String> = row.try_get("router")?;
    Ok(Promotion {
        number: row.try_get("number")?,
        at_ms: row.try_get("at_ms")?,
        router: router.map(RouterId::new),
        kind: PromotionKind::from_word(row.try_get("kind")?),
        replaces: row.try_get("replaces")?,
        promoted_by: row.try_get("promoted_by")?,
        why: row.try_get("why")?,
    })
}
