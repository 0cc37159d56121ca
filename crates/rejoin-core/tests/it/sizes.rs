//! The size of a session, and the viewer that owns it.

use rejoin_core::{AttachOptions, Control};
use rejoin_protocol::{ErrorCode, Role};

use crate::{
    session::{fence, named, request, size, start, text_receipt},
    support::{connection, hub},
};

#[tokio::test]
async fn a_viewer_cannot_type_or_resize() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, _program) = start(&hub, &mut programs).await;
    let ann = connection("ann");
    let attachment = session.attach(&ann, request(Role::Viewer, Some(size(10, 5)))).await.unwrap();
    let typed = attachment.input(1, "x".into(), text_receipt(&ann, "1"));

    assert_eq!(typed.unwrap_err().code, ErrorCode::ReadOnly);
    assert_eq!(attachment.resize(size(20, 5)).unwrap_err().code, ErrorCode::ReadOnly);
    fence(&session).await;
    assert_eq!((session.info().cols, session.info().size_owner), (80, None));
}

#[tokio::test]
async fn the_viewer_that_typed_last_owns_the_size() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, mut program) = start(&hub, &mut programs).await;
    let (laptop, phone) = (connection("ann"), connection("ann"));
    let on_laptop =
        session.attach(&laptop, request(Role::Writer, Some(size(120, 40)))).await.unwrap();
    let on_phone = session.attach(&phone, request(Role::Writer, Some(size(40, 20)))).await.unwrap();
    fence(&session).await;

    assert_eq!((session.info().cols, session.info().size_owner.as_ref()), (120, Some(laptop.id())));
    on_phone.resize(size(42, 20)).unwrap();
    fence(&session).await;
    assert_eq!(session.info().cols, 120, "a viewer that has not typed does not own the size");
    on_phone.input(0, "x".into(), text_receipt(&phone, "1")).unwrap();
    fence(&session).await;
    assert_eq!((session.info().cols, session.info().size_owner.as_ref()), (42, Some(phone.id())));
    drop(on_phone);
    on_laptop.resize(size(100, 30)).unwrap();
    fence(&session).await;
    assert_eq!(session.info().cols, 100, "no other viewer owns the size");

    let mut sizes = Vec::new();
    while let Ok(control) = program.controls.try_recv() {
        if let Control::Resize(size) = control {
            sizes.push(size.cols());
        }
    }

    assert_eq!(sizes, [120, 42, 100]);
}

#[tokio::test]
async fn the_last_writer_gets_the_size_back_after_a_reconnect() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, _program) = start(&hub, &mut programs).await;
    let sized = |writer, cols| AttachOptions { size: Some(size(cols, 24)), ..named(writer) };
    let laptop = connection("ann");
    let on_laptop = session.attach(&laptop, sized("laptop", 120)).await.unwrap();
    let on_phone = session.attach(&connection("ann"), sized("phone", 40)).await.unwrap();
    on_laptop.input(1, "x".into(), text_receipt(&laptop, "1")).unwrap();
    drop((on_laptop, on_phone));
    let on_phone = session.attach(&connection("ann"), sized("phone", 40)).await.unwrap();
    fence(&session).await;

    assert_eq!(session.info().cols, 40, "it is the only viewer");

    let on_laptop = session.attach(&connection("ann"), sized("laptop", 120)).await.unwrap();
    fence(&session).await;

    assert_eq!(session.info().cols, 120);
    drop((on_laptop, on_phone));
}
