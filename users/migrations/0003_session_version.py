from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('users', '0002_sessions'),
    ]

    operations = [
        migrations.AddField(
            model_name='session',
            name='version',
            # No version is that of a password: who is signed in logs in again.
            field=models.CharField(default='', editable=False, max_length=16),
            preserve_default=False,
        ),
    ]
